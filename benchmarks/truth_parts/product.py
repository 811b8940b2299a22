"""The product's measuring, as this benchmark uses it: its session, its workers, its rules; other amounts.

Replicates of the shipped grades are too short to compare pairs by, or so long that hundreds of pairs take a day. So the
grades are given other amounts, here and in the children (`worker.py`); `ranking` has those of pairs in lock-step.
"""

import contextlib
import os
import queue
import statistics
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from agent.config import WorkersConfig
from agent.measure import process
from agent.measure.host.turns import wait_until_at_rest
from agent.measure.lock_step.player import Player, SideEnded, Terms
from agent.measure.lock_step.turns import Said, Side, alternate
from agent.measure.orders import LockStep, Result
from agent.measure.process import started_worker
from agent.measure.protocol import GRADES
from agent.measure.record import Interleaving, Measured, counted
from agent.measure.session import MeasureContext, Session
from agent.warm import ensure_warm
from benchmarks.common import repository
from benchmarks.truth_parts.worker import MODULE, RULES
from wire.artifact import ArtifactRef
from wire.trial import Grade, MemoryUse, Replicate, TrialRequest

PATIENCE_S: Mapping[Grade, float] = {"quick": 0.2, "normal": 2.0, "ranking": 1.0}

NAMELESS = ArtifactRef(digest="0" * 64, index=("0" * 64,), index_bytes=1, size_bytes=1, wire_bytes=1)
"""A folder that lies here already: nothing is fetched."""


@dataclass
class Product:
    """Measures bundles, and keeps what came of every timed process."""

    cache: Path
    taken: list[Replicate] = field(default_factory=list)
    workers: WorkersConfig | None = None
    grade: Grade = "normal"

    @property
    def patience_s(self) -> float:
        """How long is waited for an idle host before a group [s], as the shipped grades do, only shorter."""
        return PATIENCE_S[self.grade]

    def together(self, *bundles: Path, **amounts: Any) -> tuple[list[Measured], tuple[str, ...]]:
        """Time bundles as one group of the product's, interleaved, and no more than that: no memory, no loads.

        Args:
            bundles: Their folders.
            amounts: Of the rule, in place of those of this benchmark's grade; how many processes, not how long.
        Returns:
            What came of each, and what spoke against beginning.
        Raises:
            RuntimeError: One could not be measured.
        """
        return self._group(bundles, "processes", **amounts)

    def _group(
        self, bundles: Sequence[Path], interleaving: Interleaving, **amounts: Any
    ) -> tuple[list[Measured], tuple[str, ...]]:
        group = [Measured(_request(f"side{number}", self.grade), folder, None) for number, folder in enumerate(bundles)]
        with self._session(interleaving, **amounts) as session:
            _, reasons = wait_until_at_rest(self.patience_s, session.cancel)
            session.speeds(group)
        for one in group:
            _check(one)
            self.taken += one.replicates
        return group, reasons

    def in_lock_step(
        self, first: Path, second: Path, **amounts: Any
    ) -> tuple[tuple[Measured, Measured], tuple[str, ...]]:
        """Time two bundles in lock-step, and no more than that; else as `together`.

        Raises:
            RuntimeError: One could not be measured, or not in lock-step.
        """
        (one, other), reasons = self._group((first, second), "lock-step", **amounts)
        if one.not_in_lock_step:
            raise RuntimeError(f"{first} and {second} could not be measured in lock-step: {one.not_in_lock_step}")
        return (one, other), reasons

    def once(self, bundle: Path) -> Replicate:
        """Time one process of a bundle."""
        (one,), _ = self.together(bundle, replicates=1, repeats_disturbed=False)
        return one.replicates[-1]

    def beside(self, bundle: Path, other: Side, number: int, turns: int = 1) -> Replicate:
        """Time a process of a bundle in turns with `other`, which is warm and waits.

        Args:
            bundle: Its folder.
            other: Not the product's: an independent measurement.
            number: Of the round; in odd ones `other` begins.
            turns: So many of the product's turns are one of `other`'s.
        Raises:
            RuntimeError: It could not be measured.
        """
        one = Measured(_request("beside", self.grade), bundle, None)
        with self._session("lock-step") as session:
            order = session.timed_order(one, LockStep(session="beside", round=number))
            terms = Terms(one.rule.process_cap_s, session.cancel, self.workers)
            lines: queue.SimpleQueue[Mapping[str, Any]] = queue.SimpleQueue()
            with started_worker(order, lines.put, self.workers) as running:
                one.take(_played(Player(running, lines, terms), other, number, turns))
        _check(one)
        self.taken += one.replicates
        return one.replicates[-1]

    def memory(self, bundle: Path) -> MemoryUse:
        """Return the memory of a bundle, by a run of its own."""
        one = Measured(_request("memory", self.grade), bundle, None)
        with self._session() as session:
            session.memory(one)
        _check(one)
        if one.memory is None:
            raise RuntimeError(f"{bundle} has no memory reading")
        return one.memory

    @contextlib.contextmanager
    def _session(self, interleaving: Interleaving = "processes", **amounts: Any) -> Iterator[Session]:
        context = MeasureContext(
            "truth",
            "local",
            "0",
            affinity=(last_core(),),
            cache_dir=self.cache,
            workers=self.workers,
            interleaving=interleaving,
        )
        with tempfile.TemporaryDirectory(prefix="truth-") as name, _own(self.grade, amounts):
            yield Session(context, Path(name), threading.Event())


@dataclass(frozen=True)
class _Several:
    """A side whose turn is several of its worker's."""

    player: Player
    turns: int

    def turn(self) -> Said:
        return [self.player.turn() for _ in range(self.turns)][-1]


def _played(player: Player, other: Side, number: int, turns: int) -> Result:
    """Let both take turns, and return what the product's process left."""
    ours = _Several(player, turns)
    try:
        player.ready()
        alternate(*((ours, other) if number % 2 == 0 else (other, ours)))
        return player.finish().result
    except SideEnded as exc:
        return exc.answer.result


@contextlib.contextmanager
def _own(grade: Grade, amounts: Mapping[str, Any]) -> Iterator[None]:
    """Let the product start this benchmark's worker, and let `grade` mean this benchmark's rule."""
    before = process.MODULE, GRADES[grade]
    process.MODULE, GRADES[grade] = MODULE, replace(RULES[grade], **amounts)
    try:
        yield
    finally:
        process.MODULE, GRADES[grade] = before


def last_core() -> int:
    """Return the core that is measured on: the last one, since interrupts often land on the first."""
    return max(os.sched_getaffinity(0))


@contextlib.contextmanager
def pinned() -> Iterator[None]:
    """Let processes that are started meanwhile run on the core that is measured on, and nowhere else."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {last_core()})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def cache_folder() -> Path:
    """Return where compiled kernels lie for this benchmark's workers, compiled if they are not."""
    folder = repository() / ".cache" / "truth"
    ensure_warm(folder)
    return folder


def compiled(replicates: Sequence[Replicate]) -> int:
    """Return how many kernels were compiled in these processes, before or while they were timed."""
    timed = sum(int(each.conditions.get("compiled_while_timing", 0)) for each in replicates)
    return timed + sum(each.phases.cache_misses or 0 for each in replicates)


def infer_ns(replicate: Replicate) -> float:
    """Return a process's median inference time [ns]."""
    return float(statistics.median(replicate.infer_ns.unpack()))


def _check(one: Measured) -> None:
    if not one.alive or not (counted(one.replicates) or one.memory):
        raise RuntimeError(f"{one.bundle} could not be measured: {one.outcome}: {one.error}")


def _request(trial: str, grade: Grade) -> TrialRequest:
    return TrialRequest(
        trial=trial,
        workload="main",
        bundle=NAMELESS,
        variant=trial,
        format="onnx",
        engine="onnxruntime",
        grade=grade,
        group="truth",
    )
