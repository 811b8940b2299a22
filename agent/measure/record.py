"""From what the workers left to the record of a trial.

Decides: which outcome and which flags a record has. Leaves out: running anything.
"""

import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from agent.measure.energy import EnergyMeter, Span, energy
from agent.measure.flags import REMEDIES, UNQUIET
from agent.measure.orders import Result
from agent.measure.protocol import GRADES, GradeRule, interval_reached
from wire.trial import (
    Energy,
    Flag,
    Golden,
    MemoryUse,
    Phases,
    Predictions,
    Profile,
    Replicate,
    ScenarioSettings,
    TrialRecord,
    TrialRequest,
    Validity,
)

REPLACED = "replaced"
Interleaving = Literal["processes", "lock-step"]
OUTCOMES = {"unfit": "unfit", "incompatible": "incompatible", "failed": "failed"}


@dataclass
class Measured:
    """One variant of a group, as far as it has come."""

    request: TrialRequest
    bundle: Path | None
    evaluation: Path | None
    replicates: list[Replicate] = field(default_factory=list)
    golden: Golden | None = None
    memory: MemoryUse | None = None
    predictions: Predictions | None = None
    profile: Profile | None = None
    profile_error: str | None = None
    cold_loads: list[Phases] = field(default_factory=list)
    warm_loads: list[Phases] = field(default_factory=list)
    energies: dict[int, Energy] = field(default_factory=dict)
    """By the replicate's place in the group's order."""
    idle_w: float | None = None
    threads_allowed: int = 1
    """What the request, or else the device's configuration, gives the engine; the bundle may ask for fewer."""
    threads_usable: int | None = None
    """What cores and quota of this device are good for; null: nobody has looked."""
    engine_version: str = ""
    outcome: str = "measured"
    error: str = ""
    wall_s: float = 0.0
    repeated: bool = False
    interleaving: Interleaving = "processes"
    not_in_lock_step: str = ""
    """Why it was measured process by process, where lock-step was asked for."""
    caps: set[str] = field(default_factory=set)
    """What held the memory cap of its workers: one name, or two where a cgroup could not be joined every time."""

    @property
    def alive(self) -> bool:
        """Whether it is still worth a process: nothing has gone wrong."""
        return self.outcome == "measured"

    @property
    def threads(self) -> int:
        """What the engine really had; what it is allowed, until one was loaded."""
        return int(_engine_options(self).get("intra_op_threads", self.threads_allowed))

    @property
    def oversubscribed(self) -> bool:
        """Whether the engine has more threads than this device has cores for it."""
        return self.threads_usable is not None and self.threads > self.threads_usable

    @property
    def rule(self) -> GradeRule:
        return GRADES[self.request.grade]

    @property
    def settings(self) -> ScenarioSettings:
        """The request's, with the rate that the first process found: all processes answer equally many queries."""
        asked = self.request.settings
        rates = [replicate.conditions.get("rate_hz") for replicate in self.replicates]
        found = next(filter(None, rates), None)
        return asked if asked.rate_hz is not None or found is None else asked.model_copy(update={"rate_hz": found})

    def take(self, result: Result) -> None:
        """Add what a worker answered; the first thing that went wrong stays."""
        self.engine_version = result.engine_version or self.engine_version
        self.golden = result.golden or self.golden
        self.memory = result.memory or self.memory
        self.predictions = result.predictions or self.predictions
        if result.replicate is not None:
            self.replicates.append(result.replicate)
        if result.outcome != "ok" and self.alive:
            detail = "" if result.error is None else f"{result.error.code}: {result.error.detail}"
            self.give_up(OUTCOMES[result.outcome], detail)

    def note_energy(self, meter: EnergyMeter, span: Span) -> None:
        """Find the energy of the last process's timed loop in `span`, in which it ran."""
        last = self.replicates[-1]
        begin, end, queries = (last.conditions.get(name) for name in ("timed_begin_ns", "timed_end_ns", "queries"))
        if begin is not None and end is not None and queries:
            found = energy(meter, span, (begin, end), queries, self.idle_w)
            self.energies |= {} if found is None else {last.order: found}

    def give_up(self, outcome: str, error: str) -> None:
        """End this variant with `outcome`."""
        self.outcome, self.error = outcome, error[:2000]

    def interrupt(self) -> None:
        """Note that it was ended before it was complete: its samples stay, and count for nothing."""
        if self.alive:
            self.give_up("failed", f"trial_interrupted: timed processes so far: {len(self.replicates)}; measure again")

    def doubtful(self) -> bool:
        """Return whether the last process should be repeated, which is done once a variant."""
        flags = self.replicates[-1].flags if self.replicates else ()
        disturbed = "disturbed" in flags and self.rule.repeats_disturbed
        return disturbed or any(REMEDIES[reason][1] for reason in flags)

    def replace_last(self) -> None:
        """Note that the last process is measured once more: it stays in the record and counts in no number."""
        last = self.replicates[-1]
        self.replicates[-1] = last.model_copy(update={"flags": tuple(sorted({*last.flags, REPLACED}))})

    def settled(self) -> bool:
        """Return whether its interval is as narrow as the grade asks for."""
        medians = process_medians(self.replicates)
        return len(medians) >= 2 and interval_reached(medians, self.rule)

    def wants_more(self) -> bool:
        """Return whether more processes are worth it: the interval is wide, or too few were undisturbed."""
        quiet = sum(UNQUIET.isdisjoint(replicate.flags) for replicate in counted(self.replicates))
        return self.alive and (quiet < self.rule.fewest_quiet or not self.settled())

    def has_time(self) -> bool:
        """Return whether another process fits into the grade's time, however long it takes."""
        spent_s = sum(map(running_s, self.replicates))
        return spent_s + self.rule.longest_process_s <= self.rule.budget_s


def is_interrupted(record: TrialRecord) -> bool:
    """Whether somebody ended the trial before it was complete."""
    return record.error.startswith("trial_interrupted: ")


def running_s(replicate: Replicate) -> float:
    """Return how long a process warmed up and was timed, pauses between queries included [s]."""
    known = [replicate.conditions.get(name) for name in ("warm_up_s", "timed_s")]
    if None not in known:
        return sum(map(float, filter(None, known)))
    calls = replicate.conditions.get("calls_per_sample", 1)
    return float(sum(replicate.warm_up_ns.unpack()) + calls * sum(replicate.total_ns.unpack())) / 1e9


def counted(replicates: Sequence[Replicate]) -> list[Replicate]:
    """Return the processes whose samples count: all but those that were replaced."""
    return [replicate for replicate in replicates if REPLACED not in replicate.flags]


def process_medians(replicates: Sequence[Replicate]) -> list[float]:
    """Return the median latency of each process that counts [ns]."""
    return [float(statistics.median(replicate.total_ns.unpack())) for replicate in counted(replicates)]


def flags_of(measured: Measured, preflight: Sequence[str]) -> tuple[Flag, ...]:
    """Return all reasons to doubt this variant's numbers, each once; a replaced process only leaves that it was.

    What spoke against beginning does not void: each process says by itself whether it held while it was timed.
    """
    processes = counted(measured.replicates)
    seen = Counter(reason for replicate in processes for reason in replicate.flags)
    reasons = set(seen)
    if len(processes) < len(measured.replicates):
        reasons.add(REPLACED)
    reasons.update(preflight)
    if measured.oversubscribed and measured.replicates:
        reasons.add("oversubscribed")
    if measured.profile_error is not None:
        reasons.add("not_profiled")
    if measured.alive and not measured.settled():
        reasons.add("interval_not_reached")
    return tuple(_flag(reason, 2 * seen[reason] > len(processes)) for reason in sorted(reasons))


def _flag(reason: str, in_most_processes: bool) -> Flag:
    """A void reason voids the trial where it holds in most of its processes: their median is then no sound one."""
    remedy, void = REMEDIES[reason]
    return Flag(reason=reason, remedy=remedy, void=void and in_most_processes)


def assemble(
    measured: Measured, shared: dict[str, Any], conditions: dict[str, Any], preflight: Sequence[str]
) -> TrialRecord:
    """Return the record of one variant.

    Args:
        measured: All that came of it.
        shared: Fields that all records of the group share (fleet, device, threads, …).
        conditions: Those of the group.
        preflight: What spoke against beginning, once the wait was over.
    """
    request, flags, spent = measured.request, flags_of(measured, preflight), mean_energy(measured)
    return TrialRecord(
        **shared,
        trial=request.trial,
        workload=request.workload,
        bundle=request.bundle.digest,
        variant=request.variant,
        control=request.control,
        engine=request.engine,
        engine_version=measured.engine_version,
        engine_options=_engine_options(measured),
        scenario=request.scenario,
        settings=request.settings,
        grade=request.grade,
        outcome=measured.outcome,  # type: ignore[arg-type]  # one of OUTCOMES, or `measured`
        error=measured.error,
        replicates=tuple(measured.replicates),
        memory=measured.memory,
        predictions=measured.predictions,
        golden=measured.golden,
        conditions=conditions,
        energy_j=None if spent is None else spent.joules_per_query,
        energy=spent,
        profile=measured.profile,
        cold_loads=tuple(measured.cold_loads),
        warm_loads=tuple(measured.warm_loads),
        flags=flags,
        validity=validity_of(measured, flags),
        wall_s=round(measured.wall_s, 3),
    )


def validity_of(measured: Measured, flags: Sequence[Flag]) -> Validity:
    """Return whether the speed may be used: it was measured, and no reason voids it."""
    if not measured.alive:
        code = measured.error.partition(":")[0]
        return Validity(valid=False, reasons=(code or measured.outcome,))
    reasons = tuple(flag.reason for flag in flags if flag.void)
    return Validity(valid=not reasons, reasons=reasons)


def mean_energy(measured: Measured) -> Energy | None:
    """Return the energy of all processes that count, together; None where no sensor gave it for one of them."""
    found = [measured.energies[one.order] for one in counted(measured.replicates) if one.order in measured.energies]
    if not found:
        return None
    seconds, queries = sum(one.seconds for one in found), sum(one.queries for one in found)
    joules = sum(one.joules for one in found)
    return Energy(
        source=found[0].source,
        seconds=seconds,
        queries=queries,
        mean_w=sum(one.mean_w * one.seconds for one in found) / seconds,
        idle_w=found[0].idle_w,
        joules=joules,
        joules_per_query=joules / queries,
    )


def _engine_options(measured: Measured) -> dict[str, Any]:
    if not measured.replicates:
        return {}
    settings: dict[str, Any] = measured.replicates[0].conditions.get("engine_settings", {})
    return settings
