"""Metrics lines merged over an interval."""

from agent.supervise.tally import Tally
from wire.sketch import Sketch


def line(*latencies_ms: float, errors: int = 0) -> dict[str, object]:
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
    }


def test_lines_are_merged_and_taken_once() -> None:
    tally = Tally("main")
    tally.add({**line(1.0, 2.0), "workload": "main"})
    tally.add({**line(4.0, errors=1), "workload": "main"})
    tally.restarted()
    metrics = tally.take("a" * 64)
    assert (metrics.workload, metrics.queries, metrics.errors, metrics.restarts) == ("main", 3, 1, 1)
    assert metrics.latency_ms is not None
    assert (metrics.latency_ms.count, metrics.latency_ms.maximum) == (3, 4.0)
    assert (metrics.predictions, metrics.worker_rss_bytes, metrics.active) == ({"0": 3}, 1001, "a" * 64)
    empty = tally.take(None)
    assert (empty.queries, empty.restarts, empty.latency_ms, empty.predictions) == (0, 0, None, {})


def test_the_workload_is_the_agents_word_not_the_workers() -> None:
    tally = Tally("main")
    assert tally.add(line(1.0)) is not None
    assert tally.take(None).workload == "main"


def test_reasons_of_errors_are_added_up_and_bounded() -> None:
    tally = Tally("main")
    tally.add({**line(errors=3), "errors_by_reason": {"bad_query": 2, "engine_failed": 1}})
    tally.add({**line(errors=1), "errors_by_reason": {"bad_query": 1}})
    assert tally.take(None).errors_by_reason == {"bad_query": 3, "engine_failed": 1}
    for first in range(0, 120, 60):
        tally.add({**line(), "errors_by_reason": {f"reason_{number}": 1 for number in range(first, first + 60)}})
    assert len(tally.take(None).errors_by_reason) == 64


def test_a_line_that_cannot_be_read_is_dropped() -> None:
    tally = Tally("main")
    assert tally.add({"queries": -1}) is None
    assert tally.add("nonsense") is None
    assert tally.queries == 0


def test_a_quantile_needs_samples() -> None:
    tally = Tally("main")
    tally.add(line(*(float(value) for value in range(1, 60))))
    assert tally.quantile("latency_ms", 0.95, 60) is None
    p95 = tally.quantile("latency_ms", 0.95, 59)
    assert p95 is not None
    assert abs(p95 - 57) < 1
    assert tally.quantile("pre_ms", 0.5, 1) is None


def test_predictions_are_bounded() -> None:
    tally = Tally("main")
    for start in (0, 200):
        tally.add({"queries": 200, "predictions": {str(label): 1 for label in range(start, start + 200)}})
    assert len(tally.take(None).predictions) == 256
