"""Where an inference's time goes, operator type by operator type, by the engine's own profiler.

Decides: how much is profiled, and what profiling itself costs. Leaves out: how an engine profiles (a module each).

    profile = take_profile(Subject(pipeline, bundle, queries, threads), Path("scratch"))
"""

import importlib
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from agent.errors import EngineFailed
from agent.inference.bundle import Bundle
from agent.inference.pipeline import Pipeline
from agent.measure.profile.operators import Spent, costs
from wire.trial import Profile

Array = NDArray[np.generic]

PROFILERS = {
    "onnxruntime": ("agent.measure.profile.onnxruntime", "OnnxRuntimeProfiler"),
    "litert": ("agent.measure.profile.litert", "LiteRtProfiler"),
}
"""engine name -> (module, class)."""

ORDER = (False, True, True, False)
"""Blocks of plain and profiled inferences: a drift of the machine then favours neither (ABBA)."""

WARM_UP = 5
LONGEST_BLOCK_S = 1.0
FEWEST_QUERIES, MOST_QUERIES = 4, 25
"""Of a block. ONNX Runtime's trace grows by about 700 bytes an operator and query."""


class Profiler(Protocol):
    """A second copy of the model, loaded so that its operators are timed."""

    note: str
    """What to know of its times; one sentence."""

    def infer(self, feeds: Sequence[Array]) -> list[Array]:
        """Run once. What is spent is kept, once `begin` was called."""

    def begin(self) -> None:
        """Keep what is spent from now on."""

    def spent(self) -> list[Spent]:
        """End profiling and return what each operator type took since `begin`.

        Raises:
            EngineFailed: The engine's account cannot be read.
        """

    def close(self) -> None: ...


@dataclass(frozen=True)
class Subject:
    """What is profiled: a loaded pipeline, its bundle, real queries in rotation, and the engine's threads."""

    pipeline: Pipeline
    bundle: Bundle
    queries: Sequence[NDArray[Any]]
    threads: int


def take_profile(subject: Subject, folder: Path) -> Profile:
    """Profile the inference; the pipeline's own engine runs beside it, to tell what profiling costs.

    Args:
        subject: What is profiled.
        folder: Where the engine may write its trace.
    Raises:
        EngineFailed: The engine has no profiler that can be used, or the profiled model answers differently.
    """
    profiler = open_profiler(subject, folder)
    try:
        _check_answers(subject, profiler)
        count = _block_queries(subject, profiler)
        profiler.begin()
        blocks = [(profiled, _block_ns(subject, profiler if profiled else None, count)) for profiled in ORDER]
        operators = costs(profiler.spent(), count * ORDER.count(True))
    finally:
        profiler.close()
    plain, profiled = (
        statistics.median(value for kind, values in blocks if kind is wanted for value in values)
        for wanted in (False, True)
    )
    return Profile(
        engine=subject.pipeline.engine.name,
        queries=count * ORDER.count(True),
        operators=operators,
        overhead_ratio=round(profiled / plain - 1, 4),
        note=profiler.note,
    )


def open_profiler(subject: Subject, folder: Path) -> Profiler:
    """Load the model once more, with the profiler of its engine.

    Raises:
        EngineFailed: There is none, or it cannot be used.
    """
    name = subject.pipeline.engine.name
    if name not in PROFILERS:
        raise EngineFailed(f"no profiler for the engine {name!r}: there is one for {', '.join(sorted(PROFILERS))}")
    module, attribute = PROFILERS[name]
    profiler: Profiler = getattr(importlib.import_module(module), attribute)(subject, folder)
    return profiler


def _check_answers(subject: Subject, profiler: Profiler) -> None:
    """A profile of another computation would be worse than none."""
    for query in subject.queries[:2]:
        subject.pipeline.prepare(query)
        expected = subject.pipeline.engine.infer(subject.pipeline.feeds)
        for index, (ours, theirs) in enumerate(zip(expected, profiler.infer(subject.pipeline.feeds), strict=True)):
            if not agrees(ours, theirs):
                raise EngineFailed(
                    f"the profiled model answers output {index} differently: its times would be those of another one"
                )


def agrees(ours: Array, theirs: Array) -> bool:
    """Return whether two outputs are those of one model: kernels may differ in the last digits, or by one step."""
    if ours.shape != theirs.shape or ours.dtype != theirs.dtype:
        return False
    a, b = ours.astype(np.float64), theirs.astype(np.float64)
    slack = 1.0 if np.issubdtype(ours.dtype, np.integer) else 1e-3 * max(1e-6, float(np.abs(a).max(initial=0.0)))
    return bool(np.all(np.abs(a - b) <= slack))


def _block_queries(subject: Subject, profiler: Profiler) -> int:
    """Warm both up, and return how many queries a block has."""
    _block_ns(subject, None, WARM_UP)
    slowest_ns = max(_block_ns(subject, profiler, WARM_UP))
    return min(MOST_QUERIES, max(FEWEST_QUERIES, int(LONGEST_BLOCK_S * 1e9 / slowest_ns)))


def _block_ns(subject: Subject, profiler: Profiler | None, count: int) -> list[int]:
    """Return how long each of `count` inferences took, plain ones where there is no profiler."""
    pipeline, taken = subject.pipeline, []
    run = pipeline.engine.infer if profiler is None else profiler.infer
    for number in range(count):
        pipeline.prepare(subject.queries[number % len(subject.queries)])
        start = time.perf_counter_ns()
        run(pipeline.feeds)
        taken.append(time.perf_counter_ns() - start)
    return taken
