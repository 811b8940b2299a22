"""Several queries at once: `multi_stream` (the latency of all of them) and `offline` (how many a second).

Decides: that streams go through the engine as one batch where the model takes one, and one after the other where it
does not, which the record then says; that `offline` with a batch that the model does not take is refused.
"""

import time
from collections.abc import Sequence
from dataclasses import replace

from agent.errors import BatchFixed
from agent.inference.batch import Batch, open_batch
from agent.inference.pipeline import Pipeline
from agent.measure.protocol import GradeRule
from agent.measure.scenarios.loop import Course, Loop, Query, Sampler, Subject, Timings, run_loop
from wire.trial import ScenarioSettings


class BatchLoop:
    """Times whole batches: a sample is one of them, or the mean of several short ones."""

    def __init__(self, batch: Batch, queries: Sequence[Query]) -> None:
        self.queries_per_call = batch.size
        self._batch = batch
        self._groups = _groups(queries, batch.size)
        self._next = 0

    def sample(self, timings: Timings, calls: int) -> int:
        """Time `calls` batches, add their mean as one sample, and return the sample's own duration [ns]."""
        clock, batch = time.perf_counter_ns, self._batch
        pre = infer = post = 0
        cpu, begin = time.process_time_ns(), clock()
        for _ in range(calls):
            queries = self._groups[self._next]
            self._next = (self._next + 1) % len(self._groups)
            start = clock()
            batch.prepare(queries)
            prepared = clock()
            outputs = batch.infer()
            inferred = clock()
            batch.finish(outputs)
            finished = clock()
            pre, infer, post = pre + prepared - start, infer + inferred - prepared, post + finished - inferred
        wall = clock() - begin
        timings.cpu.append((time.process_time_ns() - cpu) // calls)
        timings.pre.append(pre // calls)
        timings.infer.append(infer // calls)
        timings.post.append(post // calls)
        timings.total.append((pre + infer + post) // calls)
        return wall


class SequenceLoop:
    """Times as many queries one after the other as there are streams: a sample is all of them."""

    def __init__(self, pipeline: Pipeline, queries: Sequence[Query], streams: int) -> None:
        self.queries_per_call = streams
        self._loop = Loop(pipeline, queries)

    def sample(self, timings: Timings, calls: int) -> int:
        """Time `calls` times all streams, add their mean as one sample, and return its own duration [ns]."""
        single = Timings()
        wall = self._loop.sample(single, calls * self.queries_per_call)
        for name in ("cpu", "pre", "infer", "post", "total"):
            getattr(timings, name).append(getattr(single, name)[0] * self.queries_per_call)
        return wall


def streams(subject: Subject, rule: GradeRule, count: int) -> Course:
    """Time `count` queries at once."""
    as_batch, sampler = _sampler(subject, count)
    course = run_loop(sampler, rule)
    return replace(course, readings={"streams": count, "as_batch": as_batch})


def offline(subject: Subject, rule: GradeRule, settings: ScenarioSettings) -> Course:
    """Time batches back to back, `settings.queries` queries at least.

    Raises:
        BatchFixed: The model takes one query at a time.
    """
    sampler: Sampler = Loop(subject.pipeline, subject.queries)
    if settings.batch > 1:
        batch = open_batch(subject.bundle, subject.pipeline, settings.batch, subject.queries)
        sampler = BatchLoop(batch, subject.queries)
    course = run_loop(sampler, rule, fewest=settings.queries)
    return replace(course, queries_per_second=course.queries / course.timed_s, readings={"batch": settings.batch})


def _sampler(subject: Subject, count: int) -> tuple[bool | None, Sampler]:
    if count == 1:
        return None, Loop(subject.pipeline, subject.queries)
    try:
        batch = open_batch(subject.bundle, subject.pipeline, count, subject.queries)
    except BatchFixed:
        return False, SequenceLoop(subject.pipeline, subject.queries, count)
    return True, BatchLoop(batch, subject.queries)


def _groups(queries: Sequence[Query], size: int) -> list[list[Query]]:
    """Return batches in which every query has its turn: as many as there are queries, each beginning one later."""
    return [[queries[(first + row) % len(queries)] for row in range(size)] for first in range(len(queries))]
