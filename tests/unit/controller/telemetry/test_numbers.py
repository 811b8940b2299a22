"""Sketches that came over the network become numbers; what is not there stays unknown."""

import json

import pytest

from controller.telemetry.numbers import TIMES, distribution, newest, quantile, workload_numbers
from wire.buckets import pack
from wire.signed import SignedSketch
from wire.sketch import Sketch, SketchData
from wire.telemetry import WorkloadMetrics

ACTIVE, FORMER = "a" * 64, "b" * 64


def sketch_of(*values: float) -> Sketch:
    sketch = Sketch()
    for value in values:
        sketch.add(value)
    return sketch


def signed_of(*values: float) -> str:
    sketch = SignedSketch()
    for value in values:
        sketch.add(value)
    return sketch.packed()


def test_everything_that_was_told_becomes_a_number() -> None:
    numbers = workload_numbers(
        WorkloadMetrics(
            workload="main",
            queries=10,
            errors=1,
            errors_by_reason={"bad_query": 1},
            lost=3,
            lost_by_reason={"query_timeout": 3},
            sinks_by_reason={"webhook_timeout": 7},
            latency_ms=sketch_of(*[2.0] * 9, 40.0).data(),
            total_ms=sketch_of(*[5.0] * 50, 80.0).data(8),
            deadlines=8,
            deadline_misses=2,
            queue_depth=4,
            confidence=(0, 0, 0, 0, 0, 0, 0, 0, 1, 3),
            inputs={"0": signed_of(-1.0, 0.0, 3.0, float("nan"))},
        )
    )
    assert numbers["times"]["latency_ms"]["p50_ms"] == pytest.approx(2.0, rel=0.01)
    assert numbers["times"]["latency_ms"]["p99_ms"] == 40.0
    assert numbers["times"]["total_ms"]["p50_ms"] == pytest.approx(5.0, rel=0.02)
    assert numbers["times"]["wait_ms"] == {"p50_ms": None, "p95_ms": None, "p99_ms": None}
    assert (numbers["queries"], numbers["lost"], numbers["lost_by_reason"]) == (10, 3, {"query_timeout": 3})
    assert numbers["sinks_by_reason"] == {"webhook_timeout": 7}
    assert (numbers["deadline_miss_ratio"], numbers["queue_depth"]) == (0.25, 4)
    assert numbers["confidence"] == {"counts": [0] * 8 + [1, 3], "mean": pytest.approx(0.925)}
    assert numbers["inputs"]["0"] == {
        "count": 3,
        "missing": 1,
        "mean": pytest.approx(2 / 3),
        "smallest": -1.0,
        "p05": -1.0,
        "p50": 0.0,
        "p95": 3.0,
        "largest": 3.0,
    }
    json.dumps(numbers, allow_nan=False)


def test_of_an_older_agent_only_what_it_tells_is_known() -> None:
    numbers = workload_numbers(WorkloadMetrics(workload="main", queries=4))
    assert set(numbers["times"]) == set(TIMES)
    assert (numbers["deadline_miss_ratio"], numbers["confidence"], numbers["values"], numbers["inputs"]) == (
        None,
        None,
        None,
        {},
    )


def test_the_entry_of_the_active_bundle_is_shown() -> None:
    told = [
        WorkloadMetrics(workload="other"),
        WorkloadMetrics(workload="main", active=FORMER, queries=1),
        WorkloadMetrics(workload="main", active=ACTIVE, queries=2),
    ]
    assert newest(told, "main", ACTIVE) is told[2]
    assert newest(told, "main", "c" * 64) is told[1]
    assert newest(told, "none", ACTIVE) is None


def test_nothing_has_no_quantile() -> None:
    assert quantile(None, 0.5) is None
    assert quantile(SketchData(), 0.5) is None
    assert distribution(None) is None
    empty = distribution(SignedSketch().packed())
    assert empty is not None
    assert (empty["count"], empty["mean"], empty["p50"], empty["smallest"]) == (0, None, None, None)


def test_a_sketch_without_extremes_has_quantiles_within_its_buckets() -> None:
    assert quantile(SketchData(packed=pack({0: 5})), 1.0) == pytest.approx(0.99, abs=0.01)
