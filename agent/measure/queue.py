"""Measure a group of variants on this host: one process at a time, variants interleaved, neighbours waited for.

Decides: the order of processes, when more are needed, and what is flagged. Leaves out: what a worker does, and whether
serving pauses meanwhile (the daemon's). Light: no numpy.

    for record in measure_group(requests, bundles, evaluations, context, cancel): ...
"""

import contextlib
import fcntl
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.config import WorkersConfig
from agent.errors import EngineFailed, WorkerNotStarted
from agent.measure import conditions
from agent.measure.orders import BaseOrder, MeasureOrder, MemoryOrder
from agent.measure.process import Answer, Canceled, run_worker
from agent.measure.protocol import abba_order
from agent.measure.record import Measured, assemble
from agent.warm import ensure_warm
from wire.trial import TrialRecord, TrialRequest

IDLE_PRESSURE_PERCENT = 2.0
POLL_S = 0.2
STARTS = 3
"""A worker that could not even be started is no fault of the variant: it is started again."""

START_AGAIN_S = 1.0


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

    def say(self, event: str, **fields: Any) -> None:
        if self.progress is not None:
            self.progress(event, fields)


def measure_group(
    requests: Sequence[TrialRequest],
    bundles: Mapping[str, Path],
    evaluations: Mapping[str, Path],
    context: MeasureContext,
    cancel: threading.Event,
) -> Iterator[TrialRecord]:
    """Measure the variants of one group against each other, and yield a record for each as it is complete.

    Speed first, interleaved; then each variant's memory and answers in a process of its own. A variant that fails is
    dropped from later rounds, and its record says why. After `cancel` nothing more is yielded.

    Args:
        requests: Variants of one group.
        bundles: Folder of each bundle, by digest.
        evaluations: Folder of each evaluation set, by digest.
        context: Where and how.
        cancel: Ends the running process and this generator.
    """
    group = [_start(request, bundles, evaluations, context) for request in requests]
    with contextlib.suppress(Canceled), host_lock(context.lock_path, cancel), _work_folder(context) as folder:
        _warm(context)
        started_s, before = time.time(), conditions.snapshot()
        waited_s, busy = _wait_until_idle(max((one.rule.preflight_wait_s for one in group), default=0.0), cancel)
        session = _Session(context, folder, cancel)
        session.speeds(group)
        for one in group:
            session.memory(one)
            record = assemble(one, _shared(context, started_s), _conditions(context, one, before, waited_s), busy)
            context.say("trial", trial=record.trial, variant=record.variant, outcome=record.outcome)
            yield record


@dataclass
class _Session:
    """Gives orders to workers, one after the other."""

    context: MeasureContext
    folder: Path
    cancel: threading.Event
    place: int = 0
    """How many replicates the group has had: a record keeps each one's place, so that a drift can be seen."""

    def speeds(self, group: Sequence[Measured]) -> None:
        by_trial = {one.request.trial: one for one in group}
        rounds = max((one.rule.replicates for one in group), default=0)
        self._rounds(by_trial, 0, rounds)
        for look in sorted({look for one in group for look in one.rule.looks}):
            open_ones = {name: one for name, one in by_trial.items() if one.wants_more() and look in one.rule.looks}
            if not open_ones:
                continue
            # The control goes on with those that want more: they are compared with it.
            open_ones = {name: one for name, one in by_trial.items() if one.request.control or name in open_ones}
            self._rounds(open_ones, rounds, look)
            rounds = max(rounds, look)

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
        order = MeasureOrder(
            **self._common(one),
            grade=one.request.grade,
            scenario=one.request.scenario,
            order=self.place,
            check_golden=not one.replicates,
        )
        self.place += 1
        self._give(one, order, one.rule.process_cap_s)

    def memory(self, one: Measured) -> None:
        """Memory, then the answers on the evaluation set."""
        if not one.alive:
            return
        digest = one.request.evaluation.digest if one.request.evaluation else None
        order = MemoryOrder(**self._common(one), evaluation_dir=one.evaluation, evaluation=digest)
        self.context.say("memory", trial=one.request.trial, variant=one.request.variant)
        self._give(one, order, one.rule.process_cap_s * 5)

    def _give(self, one: Measured, order: BaseOrder, timeout_s: float) -> None:
        start = time.monotonic()
        try:
            answer = self._started(order, timeout_s)
        except (OSError, WorkerNotStarted) as exc:
            one.give_up("failed", f"{WorkerNotStarted.reason}: {STARTS} tries; the last: {exc}")
        else:
            one.take(answer.result)
            one.caps |= {answer.memory_cap_by} if answer.memory_cap_by is not None else set()
        one.wall_s += time.monotonic() - start

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
            "threads": context.threads,
            "affinity": context.affinity,
            "memory_cap_bytes": context.memory_cap_bytes,
            "cache_dir": context.cache_dir,
        }


@contextlib.contextmanager
def host_lock(path: Path | None, cancel: threading.Event) -> Iterator[None]:
    """Hold the host's measuring lock: agents that share a host take turns. Released by the kernel if we die.

    Raises:
        Canceled: `cancel` was set while waiting.
    """
    if path is None:
        yield
        return
    with path.open("a") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if cancel.wait(POLL_S):
                    raise Canceled from None
        try:
            yield
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)


def _start(
    request: TrialRequest, bundles: Mapping[str, Path], evaluations: Mapping[str, Path], context: MeasureContext
) -> Measured:
    evaluation = evaluations.get(request.evaluation.digest) if request.evaluation else None
    one = Measured(request, bundles.get(request.bundle.digest), evaluation)
    if context.engines_allowed is not None and request.engine not in context.engines_allowed:
        one.give_up("incompatible", f"engine_missing: {request.engine} is not allowed on this device")
    elif one.bundle is None:
        one.give_up("failed", f"not_found: bundle {request.bundle.digest} is not on this device")
    elif request.evaluation is not None and evaluation is None:
        one.give_up("failed", f"not_found: evaluation set {request.evaluation.digest} is not on this device")
    return one


def _wait_until_idle(limit_s: float, cancel: threading.Event) -> tuple[float, bool]:
    """Wait for others to leave the processor alone, at most `limit_s`; return (waited [s], still busy)."""
    start = time.monotonic()
    while (conditions.pressure(conditions.ROOT, "cpu") or 0.0) >= IDLE_PRESSURE_PERCENT:
        if time.monotonic() - start >= limit_s:
            return time.monotonic() - start, True
        if cancel.wait(POLL_S):
            raise Canceled
    return time.monotonic() - start, False


def _warm(context: MeasureContext) -> None:
    """Kernels are compiled before anything is timed; where that fails, workers use numba and their records say so."""
    try:
        ensure_warm(context.cache_dir)
    except EngineFailed as exc:
        context.say("not_warm", detail=str(exc))


@contextlib.contextmanager
def _work_folder(context: MeasureContext) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="measure-", dir=context.work_dir) as folder:
        yield Path(folder)


def _shared(context: MeasureContext, started_s: float) -> dict[str, Any]:
    return {
        "fleet": context.fleet,
        "device": context.device,
        "plan_gen": context.plan_gen,
        "threads": context.threads,
        "emulated": context.emulated,
        "agent_version": context.agent_version,
        "started_s": started_s,
    }


def _conditions(context: MeasureContext, one: Measured, before: Mapping[str, Any], waited_s: float) -> dict[str, Any]:
    return {
        **conditions.fixed_conditions(),
        "before": dict(before),
        "after": conditions.snapshot(),
        "preflight_waited_s": round(waited_s, 3),
        "memory_cap_bytes": context.memory_cap_bytes,
        "memory_cap_by": "+".join(sorted(one.caps)) or None,
        "worker_affinity": list(context.affinity) if context.affinity else None,
    }
