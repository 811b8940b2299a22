"""Two records against each other: a verdict with its interval, or why there is none.

Decides: when two records may be compared at all, and what makes the comparison doubtful. Two that were measured in
lock-step are compared round by round; what slowed both alike is then no reason against a verdict. Leaves out: the
statistics (`wire.statistics`).
"""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from agent.bench.numbers import has_single_samples, is_void, percentile_text, query_times_ns, samples_ns
from agent.bench.rows import EMULATED, aligned, engine_text
from agent.measure.lock_step.ratios import round_log_ratios
from wire.statistics import Comparison, compare, compare_rounds
from wire.trial import Scenario, TrialRecord

MIB = 2**20


SHARED = frozenset({"drift", "probe_invalid"})
"""Flags that void a speed and say nothing against a ratio: the processor got slower, in lock-step for both alike."""


@dataclass(frozen=True)
class Compared:
    """`ours` against `theirs`. `comparison` is null where there are reasons (`against`) that forbid one.

    `log_ratios`: of each round that both took in lock-step; none where they were measured otherwise.
    """

    ours: TrialRecord
    theirs: TrialRecord
    interleaved: bool
    against: tuple[str, ...]
    doubts: tuple[str, ...]
    comparison: Comparison | None
    log_ratios: tuple[float, ...] = ()

    @property
    def verdict(self) -> str:
        """`faster`, `slower`, `no_difference_seen`, `not_enough_data`, or `no_verdict`."""
        return "no_verdict" if self.comparison is None else self.comparison.verdict

    @property
    def names(self) -> tuple[str, str]:
        """What to call the two."""
        ours, theirs = self.ours.variant, self.theirs.variant
        return ours, theirs if theirs != ours else f"{theirs} (the other)"


def compare_records(ours: TrialRecord, theirs: TrialRecord, interleaved: bool) -> Compared:
    """Compare the time per query of `ours` with that of `theirs`.

    Args:
        ours: The bundle that is asked about.
        theirs: The reference.
        interleaved: Whether both were measured in turns, in one group.
    """
    log_ratios = tuple(round_log_ratios(theirs.replicates, ours.replicates)) if interleaved else ()
    excused = SHARED if log_ratios else frozenset()
    against = (
        *_reasons("the bundle", ours, excused),
        *_reasons("the other", theirs, excused),
        *_other_scenario(ours, theirs),
        *_other_interleaving(ours, theirs),
    )
    doubts = tuple(_differences(ours, theirs))
    if not interleaved:
        doubts = ("measured at different times: what changed on the machine counts as a difference", *doubts)
    comparison = None if against else _compared(ours, theirs, log_ratios)
    return Compared(ours, theirs, interleaved, against, doubts, comparison, log_ratios)


def _compared(ours: TrialRecord, theirs: TrialRecord, log_ratios: Sequence[float]) -> Comparison:
    return compare_rounds(log_ratios) if log_ratios else compare(query_times_ns(theirs), query_times_ns(ours))


def reasons_against(theirs: TrialRecord, scenario: Scenario) -> tuple[str, ...]:
    """Return why nothing can be compared with a record, whatever a bundle's own will be in `scenario`."""
    ours = theirs.model_copy(update={"scenario": scenario, "conditions": {}})
    return (*_reasons("the other", theirs), *_other_scenario(ours, theirs), *_other_interleaving(ours, theirs))


def compared_table(compared: Compared) -> str:
    """Return both records side by side, and the verdict."""
    ours, theirs = compared.ours, compared.theirs
    columns = [("", *compared.names), *_sides(ours, theirs)]
    widths = [max(len(row[place]) for row in columns) for place in range(3)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in columns]
    said = [("verdict", verdict_text(compared)), *_rounds(compared), *(("doubt", doubt) for doubt in compared.doubts)]
    return "\n".join([*lines, "", aligned(said)])


def verdict_text(compared: Compared) -> str:
    """Return the verdict as a sentence."""
    found = compared.comparison
    if found is None:
        return f"none: {'; '.join(compared.against)}"
    share, bounds = f"{found.ratio:.4f}", f"{found.lower:.4f} to {found.upper:.4f}"
    took = f"{compared.names[0]} takes {share} of the time of {compared.names[1]}"
    units = f"{found.processes[1]} and {found.processes[0]} processes"
    if compared.log_ratios:
        units = f"{len(compared.log_ratios)} rounds in lock-step"
    interval = f"({100 * (1 - found.level):g} % interval {bounds}, {units})"
    if found.verdict == "not_enough_data":
        return f"not enough data: {took} {interval}; use a higher grade"
    if found.verdict == "no_difference_seen":
        seen = f"{100 * (found.detectable_ratio - 1):.1f} %"
        return f"no difference seen: {took} {interval}; one of {seen} would have been seen in nine of ten comparisons"
    return f"{found.verdict}: {took} {interval}"


def _rounds(compared: Compared) -> list[tuple[str, str]]:
    listed = ", ".join(f"{100 * math.expm1(value):+.2f} %" for value in compared.log_ratios)
    return [("rounds", listed)] if listed else []


def _reasons(who: str, record: TrialRecord, excused: Collection[str] = ()) -> list[str]:
    if record.outcome != "measured":
        return [f"{who} was not measured ({record.outcome}: {record.error})"]
    void = {flag.reason for flag in record.flags if flag.void}
    if is_void(record) and not (void and void <= set(excused)):
        return [f"the speed of {who} is void ({', '.join(sorted(void)) or 'not valid'})"]
    return [] if query_times_ns(record) else [f"{who} has no process that counts"]


def _other_scenario(ours: TrialRecord, theirs: TrialRecord) -> list[str]:
    if ours.scenario == theirs.scenario:
        return []
    return [f"the scenarios differ ({ours.scenario} and {theirs.scenario}): they do not mean the same by latency"]


def _interleaving(record: TrialRecord) -> str:
    return str(record.conditions.get("interleaving", "processes"))


def _other_interleaving(ours: TrialRecord, theirs: TrialRecord) -> list[str]:
    one, other = _interleaving(ours), _interleaving(theirs)
    if one == other:
        return []
    return [f"one took turns within its processes, the other did not ({one} and {other}): compare each with its like"]


def _differences(ours: TrialRecord, theirs: TrialRecord) -> list[str]:
    """Return what else differs between the two, and might be what makes one faster."""
    pairs: Sequence[tuple[str, object, object]] = (
        ("device", (ours.fleet, ours.device), (theirs.fleet, theirs.device)),
        ("processor", ours.conditions.get("cpu_model"), theirs.conditions.get("cpu_model")),
        ("grade", ours.grade, theirs.grade),
        ("threads", ours.threads, theirs.threads),
        ("settings", _settings(ours), _settings(theirs)),
        ("emulated", ours.emulated, theirs.emulated),
        ("agent", ours.agent_version, theirs.agent_version),
        ("agent's code", ours.conditions.get("agent_sha256"), theirs.conditions.get("agent_sha256")),
        ("memory cap", ours.conditions.get("memory_cap_bytes"), theirs.conditions.get("memory_cap_bytes")),
        ("affinity", ours.conditions.get("worker_affinity"), theirs.conditions.get("worker_affinity")),
    )
    found = [f"{name} differs: {first} and {second}" for name, first, second in pairs if first != second]
    found += (
        [f"engine differs: {engine_text(ours)} and {engine_text(theirs)}"] if _same_engine_changed(ours, theirs) else []
    )
    found += [f"emulated: {EMULATED}"] if ours.emulated and theirs.emulated else []
    why_not = ours.conditions.get("not_in_lock_step")
    found += [f"not in lock-step: {why_not}"] if why_not else []
    return found + _own_rates(ours) + _flags(ours, theirs)


def _flags(ours: TrialRecord, theirs: TrialRecord) -> list[str]:
    """Return the flags of either, each once, with who has it."""
    have = [
        {flag.reason: flag.remedy for flag in record.flags if not flag.void or flag.reason in SHARED}
        for record in (ours, theirs)
    ]
    found = []
    for reason, remedy in sorted({**have[0], **have[1]}.items()):
        who = "both" if reason in have[0] and reason in have[1] else "the bundle" if reason in have[0] else "the other"
        found.append(f"{reason} ({who}): {remedy}")
    return found


def _settings(record: TrialRecord) -> dict[str, object]:
    """Return the settings that the record's scenario reads."""
    read = {
        "multi_stream": ("streams",),
        "offline": ("batch", "queries"),
        "server": ("rate_hz", "bound_ms", "seed"),
        "paced": ("period_ms", "bound_ms"),
    }
    return {name: getattr(record.settings, name) for name in read.get(record.scenario, ())}


def _own_rates(record: TrialRecord) -> list[str]:
    if record.scenario == "server" and record.settings.rate_hz is None:
        return ["each was asked at a rate that suits its own speed: give --rate-hz to ask both alike"]
    return []


def _same_engine_changed(ours: TrialRecord, theirs: TrialRecord) -> bool:
    return ours.engine == theirs.engine and ours.engine_version != theirs.engine_version


def _sides(ours: TrialRecord, theirs: TrialRecord) -> list[tuple[str, str, str]]:
    sides = [_side(record) for record in (ours, theirs)]
    return [(name, sides[0][name], sides[1][name]) for name in sides[0]]


def _side(record: TrialRecord) -> dict[str, str]:
    times, samples = query_times_ns(record), samples_ns(record)
    tails = has_single_samples(record) and samples and record.scenario != "offline"
    first = [replicate.phases.first_inference_ms for replicate in record.replicates]
    known = sorted(value for value in first if value is not None)
    return {
        "engine": f"{engine_text(record)}, {record.threads} thread(s)",
        "processes": str(len(times)),
        "medians": ", ".join(f"{value / 1e6:.4f}" for value in times) + " ms" if times else "none",
        **{f"p{100 * at:g}": percentile_text(samples, at) if tails else "not given" for at in (0.95, 0.99)},
        "first inference": f"{known[len(known) // 2]:.1f} ms" if known else "none",
        "peak memory": "none" if record.memory is None else f"{record.memory.peak_bytes / MIB:.1f} MiB",
        "energy a query": "none" if record.energy is None else f"{1000 * record.energy.joules_per_query:.4g} mJ",
        "golden outputs": "none" if record.golden is None else ("passed" if record.golden.passed else "FAILED"),
    }
