"""Waiting counts from the arrival, whatever the answers take: on a stand-in for a pipeline that takes a known time."""

import itertools
import time
from typing import Any

import numpy as np
import pytest

from agent.measure.protocol import GRADES
from agent.measure.scenarios import arrivals, schedule
from agent.measure.scenarios.arrivals import Arrivals, Limits
from agent.measure.scenarios.blocks import Blocks
from agent.measure.scenarios.loop import Timings

QUERIES = [np.full(1, number) for number in range(8)]


class Takes:
    """A pipeline whose inference computes for so long, and now and then a hundred times that."""

    def __init__(self, busy_ms: float, slow_every: int = 0) -> None:
        self._busy_ns = busy_ms * 1e6
        self._slow_every = slow_every
        self.seen: list[int] = []

    def prepare(self, query: Any) -> Any:
        self.seen.append(int(query[0]))
        return query

    def infer(self) -> list[Any]:
        slow = self._slow_every and len(self.seen) % self._slow_every == 0
        end = time.perf_counter_ns() + self._busy_ns * (100 if slow else 1)
        while time.perf_counter_ns() < end:
            pass
        return []

    def finish(self, outputs: Any) -> Any:
        return outputs


def run(pipeline: Any, due: Any, limits: Limits) -> tuple[Timings, arrivals.Span]:
    timings = Timings()
    return timings, Arrivals(pipeline, QUERIES, due).run(timings, limits)


def test_latency_is_wait_and_service_and_nothing_else() -> None:
    pipeline = Takes(0.2)
    timings, span = run(pipeline, schedule.poisson(500.0, 3), Limits(40, 0.0, 5.0))
    assert len(timings.total) == 40
    assert pipeline.seen == list(itertools.islice(itertools.cycle(range(8)), 40))
    parts = zip(timings.wait, timings.pre, timings.infer, timings.post, timings.total, strict=True)
    assert all(wait + pre + infer + post == total for wait, pre, infer, post, total in parts)
    assert list(timings.service()) == [
        sum(three) for three in zip(timings.pre, timings.infer, timings.post, strict=True)
    ]
    assert 1 <= span.found_idle <= 40


def test_a_slow_answer_does_not_hide_that_others_wait_behind_it() -> None:
    """Coordinated omission: a query that comes while another is answered waits at least until that one's end."""
    timings, _ = run(Takes(0.2, slow_every=20), schedule.paced(2.0), Limits(60, 0.0, 10.0))
    due_ns = [int(number * 2e6) for number in range(60)]
    finished = [due + total for due, total in zip(due_ns, timings.total, strict=True)]
    for number in range(1, 60):
        assert timings.wait[number] >= finished[number - 1] - due_ns[number]
    behind = timings.wait[20:25]  # the 20th took 20 ms, the next ones were due 2, 4, 6, … ms after it
    assert all(wait >= 9e6 for wait in behind)


def test_more_than_can_be_answered_finds_the_device_never_idle() -> None:
    timings, span = run(Takes(1.0), schedule.paced(0.5), Limits(80, 0.0, 5.0))
    assert span.found_idle == 1
    assert timings.wait[-1] >= 79 * 0.49e6
    readings = arrivals._readings(timings, span, 0.5)
    assert readings["found_idle_ratio"] < 0.02
    assert readings["late_ratio"] > 0.9


def test_the_cap_ends_a_queue_that_only_grows_and_a_pace_too_slow_for_it() -> None:
    timings, _ = run(Takes(2.0), schedule.paced(0.01), Limits(10_000, 0.0, 0.05))
    assert 1 <= len(timings.total) <= 26
    timings, _ = run(Takes(0.1), schedule.paced(60_000.0), Limits(10, 0.0, 0.5))
    assert len(timings.total) == 1


def test_the_schedule_goes_on_where_the_warm_up_left_it() -> None:
    reference = list(itertools.islice(schedule.poisson(1000.0, 5), 12))
    due = schedule.poisson(1000.0, 5)
    queue = Arrivals(Takes(0.01), QUERIES, due)  # type: ignore[arg-type]
    queue.run(Timings(), Limits(5, 0.0, 5.0))
    # One arrival ended the first run, so that its successor opens the second.
    assert next(due) == reference[6]


def test_blocks_are_ended_only_between_queries_that_are_far_apart() -> None:
    rule, timings = GRADES["quick"], Timings()
    blocks = Blocks(rule)
    Arrivals(Takes(0.1), QUERIES, schedule.paced(40.0)).run(timings, Limits(5, 0.0, 5.0), blocks)  # type: ignore[arg-type]
    ended = blocks.end(len(timings.total))
    assert sum(block["samples"] for block in ended) == 5
    assert len(ended) >= 2
    busy = Blocks(rule)
    timings = Timings()
    Arrivals(Takes(0.5), QUERIES, schedule.paced(1.0)).run(timings, Limits(120, 0.0, 5.0), busy)  # type: ignore[arg-type]
    assert [block["samples"] for block in busy.end(len(timings.total))] == [120]


@pytest.mark.parametrize(("bound_ms", "ratio"), [(None, None), (0.5, 1.0), (2.0, 0.5), (2.4, 0.25), (4.0, 0.0)])
def test_the_share_over_the_bound(bound_ms: float | None, ratio: float | None) -> None:
    assert arrivals.over_bound_ratio([1_000_000, 2_000_000, 2_400_000, 4_000_000], bound_ms) == ratio
