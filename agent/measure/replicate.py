"""One replicate: this fresh process warms up, then times its queries.

Decides: what is inside the clock (pre, inference, post; nothing else). Leaves out: how many processes there are and
what their numbers mean (`queue.py`, `protocol.py`).
"""

import gc
import statistics
import time
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.inference.pipeline import Pipeline
from agent.measure import conditions, protocol
from agent.measure.protocol import GradeRule
from wire.trial import Phases, Replicate, Samples

Query = NDArray[Any]
PROBE_ROUNDS = 7
PROBE_STEPS = 40_000


def _no_samples() -> "array[int]":
    return array("q")


@dataclass
class Timings:
    """Samples per phase [ns]; in all four, sample i is the same query (or the mean of the same k)."""

    total: "array[int]" = field(default_factory=_no_samples)
    pre: "array[int]" = field(default_factory=_no_samples)
    infer: "array[int]" = field(default_factory=_no_samples)
    post: "array[int]" = field(default_factory=_no_samples)
    cpu: "array[int]" = field(default_factory=_no_samples)


class Loop:
    """Takes queries in rotation and times them one by one."""

    def __init__(self, pipeline: Pipeline, queries: Sequence[Query]) -> None:
        self._pipeline = pipeline
        self._queries = list(queries)
        self._next = 0

    def sample(self, timings: Timings, calls: int) -> int:
        """Time `calls` queries, add their mean as one sample, and return the sample's own duration [ns]."""
        clock, pipeline = time.perf_counter_ns, self._pipeline
        pre = infer = post = 0
        cpu, begin = time.process_time_ns(), clock()
        for _ in range(calls):
            query = self._queries[self._next % len(self._queries)]
            self._next += 1
            start = clock()
            pipeline.prepare(query)
            prepared = clock()
            output = pipeline.infer()
            inferred = clock()
            pipeline.finish(output)
            finished = clock()
            pre, infer, post = pre + prepared - start, infer + inferred - prepared, post + finished - inferred
        wall = clock() - begin
        timings.cpu.append((time.process_time_ns() - cpu) // calls)
        timings.pre.append(pre // calls)
        timings.infer.append(infer // calls)
        timings.post.append(post // calls)
        timings.total.append((pre + infer + post) // calls)
        return wall


def take_replicate(
    pipeline: Pipeline, queries: Sequence[Query], rule: GradeRule, order: int, phases: Phases
) -> Replicate:
    """Warm up and time.

    Args:
        pipeline: Loaded; its engine has run at least once.
        queries: Real inputs, at least one; fewer than eight are flagged.
        rule: The grade's amounts.
        order: Number of this process in the group's order.
        phases: What came before.
    """
    before = {"before": conditions.snapshot(), "probe_before_ns": probe_ns()}
    lost_before = conditions.interference()
    course = _run_course(Loop(pipeline, queries), rule)
    lost = _lost(lost_before, conditions.interference())
    after = {"probe_after_ns": probe_ns(), "after": conditions.snapshot()}
    readings = {
        **conditions.fixed_conditions(),
        **_engine(pipeline),
        **before,
        **after,
        **lost,
        "calls_per_sample": course.calls,
        "queries_in_rotation": len(queries),
        "disturbed_ratio": _disturbed_ratio(course.timed, engine_threads(pipeline), lost["run_delay_ns"]),
        "drift_ratio": round(protocol.drift_ratio(course.timed.total), 4),
    }
    flags = [*protocol.replicate_flags(readings, rule), *([] if course.stable else ["unstable"])]
    return _packed(order, course, phases, readings, flags)


@dataclass(frozen=True)
class Course:
    """A replicate's samples, whether it was warm when timing began, and how many calls make a timed sample."""

    warm_up: Timings
    timed: Timings
    stable: bool
    calls: int


def _run_course(loop: Loop, rule: GradeRule) -> Course:
    gc.collect()
    gc.disable()
    try:
        warm, stable = warm_up(loop, rule)
        calls = protocol.calls_per_sample(statistics.median(warm.total[-rule.window_runs :]))
        return Course(warm, timed_loop(loop, rule, calls), stable, calls)
    finally:
        gc.enable()


def _packed(order: int, course: Course, phases: Phases, readings: dict[str, Any], flags: Sequence[str]) -> Replicate:
    warm, timed = course.warm_up, course.timed
    spent = {"warm_up_ms": round(sum(warm.total) / 1e6, 3), "warm_up_runs": len(warm.total)}
    return Replicate(
        order=order,
        total_ns=Samples.pack(timed.total),
        pre_ns=Samples.pack(timed.pre),
        infer_ns=Samples.pack(timed.infer),
        post_ns=Samples.pack(timed.post),
        warm_up_ns=Samples.pack(warm.total),
        phases=phases.model_copy(update=spent),
        conditions=readings,
        flags=tuple(sorted(flags)),
    )


@dataclass(frozen=True)
class Amount:
    """How much a loop does: at least so many samples *and* seconds, at most `cap_s`; `calls` queries a sample."""

    samples: int
    seconds: float
    cap_s: float = float("inf")
    calls: int = 1


def warm_up(loop: Loop, rule: GradeRule) -> tuple[Timings, bool]:
    """Run until three windows agree (`protocol.is_warm`), or until the cap; return the samples and whether they did."""
    timings, medians = Timings(), list[float]()
    start = time.perf_counter_ns()
    _collect(loop, timings, Amount(rule.warm_up_runs, rule.warm_up_s))
    while not protocol.is_warm(medians):
        if (time.perf_counter_ns() - start) / 1e9 > rule.warm_up_cap_s:
            return timings, False
        done = len(timings.total)
        _collect(loop, timings, Amount(rule.window_runs, rule.window_s))
        medians.append(statistics.median(timings.total[done:]))
    return timings, True


def timed_loop(loop: Loop, rule: GradeRule, calls: int) -> Timings:
    """Take samples until the grade's runs and seconds are both reached, or its cap."""
    timings = Timings()
    _collect(loop, timings, Amount(rule.timed_runs, rule.timed_s, rule.timed_cap_s, calls))
    return timings


def probe_ns() -> int:
    """Return how long a fixed loop takes: the same work before and after shows a clock that changed [ns].

    The fastest of several short rounds: neighbours who take the processor away are seen elsewhere (`disturbed_ratio`),
    and must not pass for a slower clock.
    """
    rounds = []
    for _ in range(PROBE_ROUNDS):
        start, total = time.perf_counter_ns(), 0
        for step in range(PROBE_STEPS):
            total += step * step
        rounds.append(time.perf_counter_ns() - start)
    return min(rounds)


def rotation(inputs: Query) -> list[Query]:
    """Return the golden inputs as queries, each in memory of its own."""
    return [np.ascontiguousarray(query) for query in inputs]


def _collect(loop: Loop, timings: Timings, amount: Amount) -> None:
    spent_ns = done = 0
    while (done < amount.samples or spent_ns < amount.seconds * 1e9) and spent_ns < amount.cap_s * 1e9:
        spent_ns += loop.sample(timings, amount.calls)
        done += 1


def _engine(pipeline: Pipeline) -> dict[str, Any]:
    engine = pipeline.engine
    return {"engine": engine.name, "engine_version": engine.version, "engine_settings": dict(engine.settings)}


def engine_threads(pipeline: Pipeline) -> int:
    """Return the engine's thread count, which decides whether CPU time can be compared with wall time."""
    return int(pipeline.engine.settings["intra_op_threads"])


def _disturbed_ratio(timed: Timings, threads: int, run_delay_ns: int | None) -> float | None:
    """Share of samples in which this process waited; with several threads, of the time in which they waited.

    The CPU time of several threads adds up, so that it cannot be held against wall time.
    """
    if threads == 1:
        return round(protocol.disturbed_ratio(timed.total, timed.cpu), 4)
    return None if run_delay_ns is None else round(run_delay_ns / (threads * max(1, sum(timed.total))), 4)


def _lost(before: dict[str, int | None], after: dict[str, int | None]) -> dict[str, int | None]:
    pairs = {name: (before[name], after[name]) for name in after}
    return {name: None if old is None or new is None else max(0, new - old) for name, (old, new) in pairs.items()}
