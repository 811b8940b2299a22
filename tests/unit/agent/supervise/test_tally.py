"""Metrics lines merged over an interval, bundle by bundle, within a budget."""

import math
import random

import pytest

from agent.gateway.counts import LaneCounts
from agent.supervise.budget import LADDER, named
from agent.supervise.counted import MOST_CLASSES, BundleCounts
from agent.supervise.tally import FORMER_BYTES, MOST_BUNDLES, Tally
from wire.base import decode, encode
from wire.signed import SignedSketch, unpacked
from wire.sketch import Sketch
from wire.telemetry import MOST_BYTES, WorkloadMetrics

ACTIVE, FORMER = "a" * 64, "b" * 64
LONGEST_NAME = "w" * 63


def line(*latencies_ms: float, errors: int = 0, **more: object) -> dict[str, object]:
    sketch = Sketch()
    for latency_ms in latencies_ms:
        sketch.add(latency_ms)
    return {
        "workload": "whatever the worker calls itself",
        "queries": len(latencies_ms),
        "errors": errors,
        "latency_ms": sketch.data().model_dump(),
        "worker_rss_bytes": 1000 + len(latencies_ms),
        "predictions": {"0": len(latencies_ms)},
        **more,
    }


def lane_line(queries: int, chance: random.Random, spread: float, reasons: int = 2) -> dict[str, object]:
    counts = LaneCounts()
    for number in range(queries):
        counts.arrived()
        counts.answered(chance.lognormvariate(2, spread), chance.lognormvariate(0, spread), number % 3 == 0)
        counts.depth(number % 13)
    for number in range(reasons):
        counts.refused(f"a_reason_of_the_lane_number_{number}")
        counts.undelivered(f"a_reason_of_a_sink_number_{number}")
    return counts.take()


def worker_line(queries: int, chance: random.Random, spread: float, *, active: str, names: int) -> dict[str, object]:
    """Return a line with everything that a worker can count, `names` labels and reasons of 40 characters."""
    times = {name: Sketch() for name in ("latency_ms", "pre_ms", "infer_ms", "post_ms")}
    inputs = {str(feature): SignedSketch() for feature in range(8)}
    for _ in range(queries):
        for sketch in times.values():
            sketch.add(chance.lognormvariate(0, spread))
        for signed in inputs.values():
            signed.add(chance.gauss(0, 1000))
    return {
        "active": active,
        "queries": queries + names,
        "errors": names,
        "errors_by_reason": {f"{number:02}_{'r' * 37}": 1 for number in range(min(names, 64))},
        "predictions": {f"{number:03}_{'l' * 36}": 1 + number for number in range(names)},
        "confidence": [queries] * 10,
        "values": inputs["0"].packed(),
        "inputs": {name: signed.packed() for name, signed in inputs.items()},
        "worker_rss_bytes": 123_456_789,
        "worker_pss_bytes": 123_456_789,
        **{name: sketch.fields() for name, sketch in times.items()},
    }


def test_lines_are_merged_and_taken_once() -> None:
    tally = Tally("main")
    tally.add({**line(1.0, 2.0), "workload": "main"})
    tally.add({**line(4.0, errors=1), "workload": "main"})
    tally.restarted()
    (metrics,) = tally.take(ACTIVE)
    assert (metrics.workload, metrics.queries, metrics.errors, metrics.restarts) == ("main", 3, 1, 1)
    assert metrics.latency_ms is not None
    assert (metrics.latency_ms.count, metrics.latency_ms.maximum) == (3, 4.0)
    assert (metrics.predictions, metrics.worker_rss_bytes, metrics.active) == ({"0": 3}, 1001, ACTIVE)
    (empty,) = tally.take(None)
    assert (empty.queries, empty.restarts, empty.latency_ms, empty.predictions) == (0, 0, None, {})


def test_the_workload_is_the_agents_word_not_the_workers() -> None:
    tally = Tally("main")
    assert tally.add(line(1.0)) is not None
    assert tally.take(None)[0].workload == "main"


def test_a_bundle_that_ended_within_the_interval_is_told_on_its_own() -> None:
    tally = Tally("main")
    tally.add(line(1.0, 2.0, errors=1, active=FORMER))
    tally.add(line(5.0, active=ACTIVE))
    tally.add(line(3.0, active=FORMER))
    tally.add_gateway({"arrived": 4, "answered": 4})
    now, former = tally.take(ACTIVE)
    assert (now.active, now.queries, now.errors, now.arrived) == (ACTIVE, 1, 0, 4)
    assert (former.active, former.queries, former.errors, former.arrived) == (FORMER, 3, 1, 0)


def test_lines_of_the_lane_are_merged() -> None:
    tally = Tally("main")
    for missed, depth in ((True, 3), (False, 9), (None, 2)):
        counts = LaneCounts()
        counts.arrived()
        counts.answered(10.0, 2.0, missed)
        counts.depth(depth)
        counts.held(2)
        counts.refused("timeout")
        counts.undelivered("webhook_timeout")
        tally.add_gateway(counts.take())
    (metrics,) = tally.take(None)
    assert (metrics.arrived, metrics.answered, metrics.lost, metrics.lost_by_reason) == (3, 3, 3, {"timeout": 3})
    assert metrics.sinks_by_reason == {"webhook_timeout": 3}
    assert (metrics.deadlines, metrics.deadline_misses, metrics.queue_depth, metrics.held) == (2, 1, 9, 6)
    assert (metrics.queries, metrics.errors) == (0, 0)  # what the lane lost says nothing of a bundle
    assert metrics.total_ms is not None
    assert (metrics.total_ms.count, metrics.total_ms.total) == (3, 30.0)


def test_distributions_are_merged() -> None:
    tally = Tally("main")
    for values in ((1.0, -2.0), (4.0,)):
        sketch = SignedSketch()
        for value in values:
            sketch.add(value)
        packed = sketch.packed()
        tally.add({"queries": 1, "confidence": [0, 1], "values": packed, "inputs": {"0": packed}})
    tally.add({"queries": 1, "confidence": [1, 0, 5]})
    (metrics,) = tally.take(None)
    assert metrics.confidence == (1, 2, 5)
    assert metrics.values is not None
    for packed in (metrics.values, metrics.inputs["0"]):
        merged = unpacked(packed)
        assert (merged.count, merged.minimum, merged.maximum, merged.mean()) == (3, -2.0, 4.0, 1.0)


def test_reasons_of_errors_are_added_up_and_those_beyond_the_most_go_together() -> None:
    tally = Tally("main")
    tally.add({**line(errors=3), "errors_by_reason": {"bad_query": 2, "engine_failed": 1}})
    tally.add({**line(errors=1), "errors_by_reason": {"bad_query": 1}})
    assert tally.take(None)[0].errors_by_reason == {"bad_query": 3, "engine_failed": 1}
    for first in range(0, 60, 20):
        tally.add({**line(), "errors_by_reason": {f"reason_{number}": 1 for number in range(first, first + 20)}})
    told = tally.take(None)[0].errors_by_reason
    assert len(told) == LADDER[0].reasons + 1
    assert (sum(told.values()), told["other"]) == (60, 60 - LADDER[0].reasons)


def test_a_line_that_cannot_be_read_is_dropped() -> None:
    tally = Tally("main")
    other_error = Sketch(0.02)
    other_error.add(1.0)
    for bad in (
        {"queries": -1},
        "nonsense",
        {"latency_ms": other_error.data().model_dump()},
        {"latency_ms": {"packed": "AAA"}},
        {"inputs": {"0": "AAA"}},
        {"active": "no digest"},
    ):
        assert tally.add(bad) is None
        tally.add_gateway(bad)
    assert tally.queries == 0
    assert tally.take(None) == (WorkloadMetrics(workload="main", active=None),)


def test_bundles_are_bounded() -> None:
    tally = Tally("main")
    added = [tally.add(line(1.0, active=f"{number:064x}")) for number in range(MOST_BUNDLES + 5)]
    assert sum(each is not None for each in added) == MOST_BUNDLES
    assert len(tally.take(None)) == MOST_BUNDLES + 1


def test_a_quantile_needs_samples() -> None:
    tally = Tally("main")
    tally.add(line(*(float(value) for value in range(1, 60))))
    assert tally.quantile("latency_ms", 0.95, 60) is None
    p95 = tally.quantile("latency_ms", 0.95, 59)
    assert p95 is not None
    assert abs(p95 - 57) < 1
    assert tally.quantile("pre_ms", 0.5, 1) is None


def test_the_most_frequent_names_are_told_and_no_count_is_lost() -> None:
    counts = {"ash": 5, "birch": 9, "cedar": 1, "other": 50, "a name far too long": 3}
    assert named(counts, 3, 6) == {"birch": 9, "ash": 5, "a name": 3, "other": 51}
    assert named({}, 3, 6) == {}


@pytest.mark.parametrize("spread", [0.05, 0.5, 3.0])
@pytest.mark.parametrize("names", [0, 16, 250])
def test_a_minute_of_everything_fits_the_budget_and_keeps_its_counts(spread: float, names: int) -> None:
    tally, chance = Tally(LONGEST_NAME), random.Random(7)
    for _ in range(6):
        tally.add(worker_line(200, chance, spread, active=ACTIVE, names=names))
        tally.add_gateway(lane_line(200, chance, spread, reasons=min(names, 60)))
    (told,) = tally.take(ACTIVE)
    assert len(encode(told)) <= MOST_BYTES
    assert decode(WorkloadMetrics, encode(told)) == told
    assert (told.queries, told.errors, told.answered, told.lost) == (
        6 * (200 + names),
        6 * names,
        1200,
        6 * min(names, 60),
    )
    assert sum(told.predictions.values()) == 6 * names * (names + 1) // 2
    assert sum(told.lost_by_reason.values()) == told.lost
    assert sum(told.sinks_by_reason.values()) == 6 * min(names, 60)
    for sketch in (told.latency_ms, told.pre_ms, told.total_ms, told.wait_ms):
        assert sketch is not None
        assert sketch.count == 1200
    assert len(told.inputs) >= 6
    assert all(unpacked(packed).count == 1200 for packed in told.inputs.values())


def test_resolution_is_given_up_only_where_it_is_needed_and_the_message_says_so() -> None:
    small, chance = Tally("main"), random.Random(7)
    small.add(line(*(chance.lognormvariate(0, 0.3) for _ in range(50)), active=ACTIVE))
    (fine,) = small.take(ACTIVE)
    assert (fine.reduced, "reduced" in fine.model_fields_set) == (0, False)
    big = Tally("main")
    big.add(worker_line(500, chance, 1.0, active=ACTIVE, names=16))
    big.add_gateway(lane_line(500, chance, 1.0))
    (coarse,) = big.take(ACTIVE)
    assert 0 < coarse.reduced < len(LADDER) - 1
    received = Sketch()
    assert coarse.latency_ms is not None
    received.merge(coarse.latency_ms)
    assert received.quantile(0.95) == pytest.approx(math.exp(1.645), rel=0.3)


def test_two_bundles_that_ended_share_the_budget_with_the_present_one() -> None:
    tally, chance = Tally(LONGEST_NAME), random.Random(7)
    for number in range(3):
        tally.add(worker_line(300, chance, 2.0, active=f"{number:064x}", names=100))
    tally.add_gateway(lane_line(300, chance, 2.0, reasons=60))
    told = tally.take(f"{1:064x}")
    assert [each.active for each in told] == [f"{number:064x}" for number in (1, 0, 2)]
    assert all(len(encode(each)) <= FORMER_BYTES for each in told[1:])
    assert sum(len(encode(each)) for each in told) <= MOST_BYTES
    assert [each.errors for each in told] == [100, 100, 100]


def test_names_beyond_the_bound_are_counted_together() -> None:
    counts = BundleCounts()
    for start in (0, MOST_CLASSES - 10):
        names = {f"c{number:03}": 2 for number in range(start, start + MOST_CLASSES)}
        counts.add(WorkloadMetrics.model_validate(line(workload="main", predictions=names)))
    kept = counts._predictions
    assert (len(kept), kept["other"]) == (MOST_CLASSES + 1, 2 * (MOST_CLASSES - 10))
    assert sum(kept.values()) == 4 * MOST_CLASSES
