"""The timed loop: one query after the other, as fast as they go.

Decides: what is inside the clock (pre, inference, post; nothing else), when a process is warm, when it was timed
enough. Leaves out: how many processes there are and what their numbers mean (`queue.py`, `protocol.py`).
"""

import statistics
import time
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from agent.inference.bundle import Bundle
from agent.inference.pipeline import Pipeline
from agent.measure import protocol
from agent.measure.protocol import GradeRule
from agent.measure.scenarios.blocks import Blocks

Query = NDArray[Any]


def _no_samples() -> "array[int]":
    return array("q")


@dataclass
class Timings:
    """Samples per phase [ns]; in all of them, sample i is the same query (or the mean of the same k).

    `total` is what the scenario calls latency: pre, infer and post, and `wait` before them where queries arrive.
    """

    total: "array[int]" = field(default_factory=_no_samples)
    pre: "array[int]" = field(default_factory=_no_samples)
    infer: "array[int]" = field(default_factory=_no_samples)
    post: "array[int]" = field(default_factory=_no_samples)
    cpu: "array[int]" = field(default_factory=_no_samples)
    wait: "array[int]" = field(default_factory=_no_samples)

    def service(self) -> Sequence[int]:
        """Return what was computed for each sample [ns]: its total without the wait."""
        if not self.wait:
            return self.total
        return [total - wait for total, wait in zip(self.total, self.wait, strict=True)]


@dataclass(frozen=True)
class Subject:
    """What is measured: a loaded pipeline, its bundle, and real queries in rotation."""

    bundle: Bundle
    pipeline: Pipeline
    queries: Sequence[Query]


@dataclass(frozen=True)
class Course:
    """A process's samples, and what they stand for.

    stable: It was warm when timing began. calls: Queries that make a timed sample one after the other, of which the
    mean is kept. queries: All that were answered while timing. warm_up_s, timed_s: How long that took, pauses for
    queries included. between_ns: Begin and end of timing, on the clock that all processes share. readings: What the
    scenario adds to the conditions.
    """

    warm_up: Timings
    timed: Timings
    stable: bool
    calls: int
    queries: int
    warm_up_s: float
    timed_s: float
    between_ns: tuple[int, int]
    blocks: Sequence[dict[str, Any]] = ()
    queries_per_second: float | None = None
    over_bound_ratio: float | None = None
    readings: dict[str, Any] = field(default_factory=dict)


class Sampler(Protocol):
    """Times queries, a sample a call."""

    queries_per_call: int

    def sample(self, timings: Timings, calls: int) -> int:
        """Time `calls` times the queries of a call, add their mean as one sample; return its own duration [ns]."""


class Loop:
    """Takes queries in rotation and times them one by one."""

    queries_per_call = 1

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
            query = self._queries[self._next]
            self._next = (self._next + 1) % len(self._queries)
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


@dataclass(frozen=True)
class Amount:
    """How much a loop does: at least so many samples *and* seconds, at most `cap_s`; `calls` queries a sample."""

    samples: int
    seconds: float
    cap_s: float = float("inf")
    calls: int = 1


def run_loop(sampler: Sampler, rule: GradeRule, fewest: int = 0) -> Course:
    """Warm up, then take samples until the grade's runs and seconds are both reached, or its cap.

    Args:
        sampler: What is timed.
        rule: The grade's amounts.
        fewest: Queries that are answered at least, where the cap allows.
    """
    began = time.monotonic_ns()
    warm, stable = warm_up(sampler, rule)
    calls = protocol.calls_per_sample(statistics.median(warm.total[-rule.window_runs :]))
    samples = max(rule.timed_runs, -(-fewest // (calls * sampler.queries_per_call)))
    amount = Amount(samples, rule.timed_s, rule.timed_cap_s, calls)
    timed, blocks = Timings(), Blocks(rule)
    begin = time.monotonic_ns()
    timed_s = collect(sampler, timed, amount, blocks)
    between_ns = (begin, time.monotonic_ns())
    queries = len(timed.total) * calls * sampler.queries_per_call
    return Course(
        warm_up=warm,
        timed=timed,
        stable=stable,
        calls=calls,
        queries=queries,
        warm_up_s=(begin - began) / 1e9,
        timed_s=timed_s,
        between_ns=between_ns,
        blocks=blocks.end(len(timed.total)),
    )


def warm_up(sampler: Sampler, rule: GradeRule) -> tuple[Timings, bool]:
    """Run until three windows agree (`protocol.is_warm`), or until the cap; return the samples and whether they did."""
    timings, medians = Timings(), list[float]()
    start = time.perf_counter_ns()
    collect(sampler, timings, Amount(rule.warm_up_runs, rule.warm_up_s))
    while not protocol.is_warm(medians):
        if (time.perf_counter_ns() - start) / 1e9 > rule.warm_up_cap_s:
            return timings, False
        done = len(timings.total)
        collect(sampler, timings, Amount(rule.window_runs, rule.window_s))
        medians.append(statistics.median(timings.total[done:]))
    return timings, True


def collect(sampler: Sampler, timings: Timings, amount: Amount, blocks: Blocks | None = None) -> float:
    """Take samples as `amount` says, `protocol.MOST_SAMPLES` at most; return how long they took [s]."""
    spent_ns = done = 0
    least_ns, cap_ns, most = amount.seconds * 1e9, amount.cap_s * 1e9, protocol.MOST_SAMPLES
    while (done < amount.samples or spent_ns < least_ns) and spent_ns < cap_ns and done < most:
        spent_ns += sampler.sample(timings, amount.calls)
        done += 1
        if blocks is not None and spent_ns >= blocks.due_ns:
            blocks.cut(spent_ns, done)
    return spent_ns / 1e9


def rotation(inputs: Query) -> list[Query]:
    """Return the golden inputs as queries, each in memory of its own."""
    return [np.ascontiguousarray(query) for query in inputs]
