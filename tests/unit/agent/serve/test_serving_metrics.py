"""Counting: intervals start anew, labels are bounded."""

from agent.inference.post import Answer
from agent.serve.metrics import MOST_LABELS, OTHER_LABEL, QueryTimes, ServingMetrics

TIMES = QueryTimes(pre=1_000_000, infer=2_000_000, post=500_000)


def test_an_interval_holds_what_happened_in_it() -> None:
    metrics = ServingMetrics("main", "a" * 64)
    metrics.answered(Answer((0.9,), (2,), ("cedar",)), TIMES)
    metrics.answered(Answer((0.8,), (1,)), TIMES)
    metrics.refused("bad_query")
    first, second = metrics.take(), metrics.take()
    assert (first.queries, first.errors) == (3, 1)
    assert first.predictions == {"cedar": 1, "1": 1}
    assert first.latency_ms is not None
    assert first.latency_ms.count == 2
    assert first.latency_ms.total == 7.0
    assert (second.queries, second.errors, second.predictions, second.latency_ms) == (0, 0, {}, None)


def test_labels_are_bounded_and_nothing_is_lost() -> None:
    metrics = ServingMetrics("main", "a" * 64)
    for number in range(1000):
        metrics.answered(Answer((1.0,), (number,)), TIMES)
    predictions = metrics.take().predictions
    assert len(predictions) == MOST_LABELS + 1
    assert predictions[OTHER_LABEL] == 1000 - MOST_LABELS


def test_regression_has_no_classes_to_count() -> None:
    metrics = ServingMetrics("main", "a" * 64)
    metrics.answered(Answer((3.5,)), TIMES)
    assert metrics.take().predictions == {}
