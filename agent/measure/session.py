"""One group's orders: they are given to workers, one process after the other.

Decides: the order of processes, when more are needed, and how often one is started again. Leaves out: when the group
may begin (`queue.py`), what a worker does (`worker.py`), what becomes of its answers (`record.py`). Light: no numpy.
"""

import tempfile
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.config import WorkersConfig
from agent.errors import WorkerNotStarted
from agent.inference.limits import kernel_folder
from agent.measure.conditions import IdleTemperature
from agent.measure.energy import EnergyMeter
from agent.measure.host import pages
from agent.measure.lock_step.rounds import speeds_in_lock_step
from agent.measure.orders import BaseOrder, LoadOrder, LockStep, MeasureOrder, MemoryOrder, ProfileOrder, Result
from agent.measure.process import Answer, Canceled, run_worker
from agent.measure.protocol import abba_order
from agent.measure.record import Interleaving, Measured

STARTS = 3
"""A worker that could not even be started is no fault of the variant: it is started again."""

START_AGAIN_S = 1.0

REST_PROCESSES = 2
"""A variant's processes beside its replicates: memory, with the answers on the evaluation set, counts for two."""


@dataclass(frozen=True)
class MeasureContext:
    """Where and for whom is measured. `progress` gets (event, fields) and must not block."""

    fleet: str
    device: str
    agent_version: str
    plan_gen: int = 0
    threads: int = 1
    affinity: tuple[int, ...] | None = None
    memory_cap_bytes: int | None = None
    cache_dir: Path | None = None
    lock_path: Path | None = None
    engines_allowed: Collection[str] | None = None
    emulated: bool = False
    work_dir: Path | None = None
    workers: WorkersConfig | None = None
    progress: Callable[[str, Mapping[str, Any]], None] | None = None
    idle: IdleTemperature | None = None
    longest_s: float | None = None
    """How long serving may pause for a group; null: it does not, or nobody is served. Further looks and loads that do
    not fit are left out."""
    interleaving: Interleaving = "processes"
    """How variants of a group take turns: process by process (ABBA), or two of them in lock-step, where that can be."""
    keeps_interrupted: bool = False
    """Whether a group that is cancelled leaves records of what was measured; a device's plan is asked again instead."""

    def say(self, event: str, **fields: Any) -> None:
        if self.progress is not None:
            self.progress(event, fields)


@dataclass
class Session:
    """Gives orders to workers, one after the other."""

    context: MeasureContext
    folder: Path
    cancel: threading.Event
    meter: EnergyMeter | None = None
    place: int = 0
    """How many replicates the group has had: a record keeps each one's place, so that a drift can be seen."""
    ends_s: float | None = None
    """When serving goes on, on the monotonic clock: what is not complete by then is lost. Null: there is time."""
    has_compiled: bool = False
    """Whether a load of this group has shown what compiling its kernels costs."""

    def speeds(self, group: Sequence[Measured]) -> None:
        """Time every variant, interleaved, until each has enough processes."""
        if self.context.interleaving == "lock-step" and speeds_in_lock_step(self, group):
            return
        by_trial = {one.request.trial: one for one in group}
        rounds = max((one.rule.replicates for one in group), default=0)
        self._rounds(by_trial, 0, rounds)
        for look in sorted({look for one in group for look in one.rule.looks}):
            open_ones = {name: one for name, one in by_trial.items() if one.wants_more() and look in one.rule.looks}
            if not open_ones:
                continue
            # The control goes on with those that want more, and they with it: both are compared, in turns.
            all_go_on = any(one.request.control for one in open_ones.values())
            beside = {name for name, one in by_trial.items() if one.request.control or (all_go_on and one.alive)}
            open_ones = {name: one for name, one in by_trial.items() if name in beside or name in open_ones}
            if not self.affords(group, (look - rounds) * sum(map(process_s, open_ones.values()))):
                self.context.say("left_out", detail=f"processes up to {look}: serving must go on")
                break
            self._rounds(open_ones, rounds, look)
            rounds = max(rounds, look)

    def memory(self, one: Measured) -> None:
        """Memory, then the answers on the evaluation set."""
        if not one.alive:
            return
        digest = one.request.evaluation.digest if one.request.evaluation else None
        order = MemoryOrder(
            **self._common(one),
            scenario=one.request.scenario,
            settings=one.request.settings,
            evaluation_dir=one.evaluation,
            evaluation=digest,
        )
        self.context.say("memory", trial=one.request.trial, variant=one.request.variant)
        self._give(one, order, one.rule.process_cap_s * 5)

    def profile(self, one: Measured) -> None:
        """Find out what the operators cost, where that is asked for; if it fails, the trial loses nothing else."""
        if not one.alive or not one.request.profile:
            return
        self.context.say("profile", trial=one.request.trial, variant=one.request.variant)
        result = self._give(one, ProfileOrder(**self._common(one)), one.rule.process_cap_s, counts=False)
        one.profile = None if result is None else result.profile
        if one.profile is None:
            error = None if result is None else result.error
            one.profile_error = WorkerNotStarted.reason if error is None else f"{error.code}: {error.detail}"[:1000]

    def affords(self, rest: Sequence[Measured], seconds: float) -> bool:
        """Return whether something that takes so long [s] leaves time to answer for the memory of `rest`."""
        if self.ends_s is None:
            return True
        needed_s = seconds + sum(REST_PROCESSES * process_s(one) for one in rest if one.alive)
        return time.monotonic() + needed_s < self.ends_s

    def loads(self, one: Measured, rest: Sequence[Measured] = ()) -> None:
        """Load in processes of their own: with the files out of memory, then again right after.

        Args:
            one: Whose loads.
            rest: Variants that come after it; where the time left is theirs, loads are left out.
        """
        for _ in range(one.rule.loads if one.alive else 0):
            if not self.affords(rest, 2 * process_s(one)):
                who = {"trial": one.request.trial, "variant": one.request.variant}
                self.context.say("left_out", **who, detail="loads: serving must go on")
                return
            self.context.say("loads", trial=one.request.trial, variant=one.request.variant)
            one.cold_loads += self._load(one, drop=True)
            one.warm_loads += self._load(one, drop=False)

    def _load(self, one: Measured, drop: bool) -> list[Any]:
        """Return the phases of one load, or nothing: a load that fails takes nothing from the trial."""
        if one.bundle is None:
            return []
        files = pages.bundle_files(one.bundle)
        others = [*pages.engine_files(one.request.engine), *kernel_folder(self.context.cache_dir).glob("kernels.*")]
        if drop:
            pages.drop([*files, *others])
        left, ratio = pages.resident_ratio(files), pages.resident_ratio([*files, *others])
        cold = None if left is None else drop and left <= pages.COLD_RATIO
        known = {"cold": cold, "resident_ratio": None if ratio is None else round(ratio, 4)}
        with tempfile.TemporaryDirectory(prefix="cache-", dir=self.folder) as cache:
            compiling = {"cache_dir": Path(cache), "memory_cap_bytes": None, "compiles": True}
            compiles = drop and not self.has_compiled
            if compiles:
                kernel_folder(Path(cache)).mkdir(parents=True)
            order = LoadOrder(**{**self._common(one), **known, **(compiling if compiles else {})})
            result = self._give(one, order, one.rule.process_cap_s, counts=False)
        if result is None or result.phases is None:
            return []
        self.has_compiled = self.has_compiled or compiles
        return [result.phases]

    def _rounds(self, by_trial: Mapping[str, Measured], first: int, stop: int) -> None:
        for trial, number in abba_order(list(by_trial), stop):
            one = by_trial[trial]
            most = one.rule.replicates if first == 0 else one.rule.most_replicates
            if not one.alive or not first <= number < most or (first > 0 and not one.has_time()):
                continue
            self._replicate(one)
            if one.alive and not one.repeated and one.doubtful() and one.has_time():
                one.repeated = True
                one.replace_last()
                self._replicate(one)

    def _replicate(self, one: Measured) -> None:
        self.context.say("replicate", trial=one.request.trial, variant=one.request.variant, place=self.place)
        order = self.timed_order(one)
        if self.meter is None:
            self._give(one, order, one.rule.process_cap_s)
            return
        with self.meter.span() as span:
            result = self._give(one, order, one.rule.process_cap_s)
        if result is not None and result.replicate is not None:
            one.note_energy(self.meter, span)

    def timed_order(self, one: Measured, lock_step: LockStep | None = None) -> MeasureOrder:
        """Return the order of this variant's next replicate, and count its place."""
        self.place += 1
        return MeasureOrder(
            **self._common(one),
            grade=one.request.grade,
            scenario=one.request.scenario,
            settings=one.settings,
            order=self.place - 1,
            check_golden=not one.replicates,
            lock_step=lock_step,
        )

    def _give(self, one: Measured, order: BaseOrder, timeout_s: float, counts: bool = True) -> Result | None:
        """Have `order` carried out, and let the variant take the answer where it `counts`."""
        start, result = time.monotonic(), None
        try:
            answer = self._started(order, timeout_s)
        except (OSError, WorkerNotStarted) as exc:
            detail = f"{WorkerNotStarted.reason}: {STARTS} tries; the last: {exc}"
            self.context.say("not_started", detail=detail[:1000])
            if counts:
                one.give_up("failed", detail)
        else:
            result = answer.result
            if counts:
                one.take(result)
                one.caps |= {answer.memory_cap_by} if answer.memory_cap_by is not None else set()
            elif result.error is not None:
                self.context.say("left_out", trial=one.request.trial, detail=result.error.detail[:1000])
        one.wall_s += time.monotonic() - start
        return result

    def _started(self, order: BaseOrder, timeout_s: float) -> Answer:
        for _ in range(STARTS - 1):
            try:
                return run_worker(order, timeout_s, self.cancel, workers=self.context.workers)
            except (OSError, WorkerNotStarted) as exc:
                self.context.say("not_started", detail=str(exc)[:1000])
            if self.cancel.wait(START_AGAIN_S):
                raise Canceled
        return run_worker(order, timeout_s, self.cancel, workers=self.context.workers)

    def _common(self, one: Measured) -> dict[str, Any]:
        context = self.context
        return {
            "bundle_dir": one.bundle,
            "result_path": self.folder / "result.json",
            "threads": one.request.threads or context.threads,
            "affinity": context.affinity,
            "memory_cap_bytes": context.memory_cap_bytes,
            "cache_dir": context.cache_dir,
        }


def process_s(one: Measured) -> float:
    """Return how long a process of this variant has taken so far, on average [s]; 0 before the first."""
    return one.wall_s / max(1, len(one.replicates))
