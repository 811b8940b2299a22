"""Counting in a worker: intervals start anew, labels are bounded, inputs are sampled."""

import math

import numpy as np
import pytest

from agent.inference.post import Answer
from agent.serve.drift import MOST_FEATURES, InputSketches, summarised
from agent.serve.metrics import MOST_LABELS, OTHER_LABEL, QueryTimes, ServingMetrics
from wire.signed import unpacked
from wire.telemetry import WorkloadMetrics

TIMES = QueryTimes(pre=1_000_000, infer=2_000_000, post=500_000)


def taken(metrics: ServingMetrics) -> WorkloadMetrics:
    return WorkloadMetrics.model_validate(metrics.take())


def test_an_interval_holds_what_happened_in_it() -> None:
    metrics = ServingMetrics("main", "a" * 64)
    metrics.answered(Answer((0.9,), (2,), ("cedar",)), TIMES, np.zeros(3))
    metrics.answered(Answer((0.8,), (1,)), TIMES, np.zeros(3))
    metrics.refused("bad_query")
    first, second = taken(metrics), taken(metrics)
    assert (first.queries, first.errors, first.errors_by_reason) == (3, 1, {"bad_query": 1})
    assert first.predictions == {"cedar": 1, "1": 1}
    assert first.latency_ms is not None
    assert (first.latency_ms.count, first.latency_ms.total) == (2, 7.0)
    assert (first.worker_rss_bytes or 0) > (first.worker_pss_bytes or 0) > 0
    assert (second.queries, second.errors, second.predictions, second.latency_ms) == (0, 0, {}, None)
    assert (second.confidence, second.inputs, second.values) == ((), {}, None)


def test_labels_are_bounded_and_nothing_is_lost() -> None:
    metrics = ServingMetrics("main", "a" * 64)
    for number in range(1000):
        metrics.answered(Answer((1.0,), (number,)), TIMES)
    predictions = taken(metrics).predictions
    assert len(predictions) == MOST_LABELS + 1
    assert predictions[OTHER_LABEL] == 1000 - MOST_LABELS


def test_confidence_is_counted_in_ten_bins() -> None:
    metrics = ServingMetrics("main", "a" * 64)
    for sure in (0.0, 0.09, 0.1, 0.55, 0.95, 1.0, 17.0, -3.0, math.nan):
        metrics.answered(Answer((sure, 0.0), (1, 0)), TIMES)
    assert taken(metrics).confidence == (3, 1, 0, 0, 0, 1, 0, 0, 0, 3)


def test_values_of_a_regression_are_counted_one_output_a_query() -> None:
    metrics = ServingMetrics("main", "a" * 64)
    for number in range(10):
        metrics.answered(Answer((float(number), -100.0)), TIMES)
    told = taken(metrics)
    assert (told.predictions, told.confidence) == ({}, ())
    assert told.values is not None
    values = unpacked(told.values)
    assert (values.count, values.minimum) == (10, -100.0)
    assert values.quantile(0.5) == pytest.approx(-100.0, rel=0.05)


def test_a_value_that_is_no_number_is_told_as_missing() -> None:
    metrics = ServingMetrics("main", "a" * 64)
    metrics.answered(Answer((math.nan,)), TIMES)
    told = taken(metrics)
    assert told.values is not None
    assert (unpacked(told.values).count, unpacked(told.values).missing) == (0, 1)


def test_a_tables_query_is_its_first_features_by_index() -> None:
    found = dict(summarised(np.arange(20.0)))
    assert found == {str(feature): float(feature) for feature in range(MOST_FEATURES)}
    assert dict(summarised(np.array([1, 2], dtype=np.int8))) == {"0": 1.0, "1": 2.0}


def test_a_text_is_its_length() -> None:
    texts = np.array([b"good", b""])
    assert [dict(summarised(query)) for query in (texts[0], np.array(b"bad"), texts[1])] == [
        {"bytes": 4.0},
        {"bytes": 3.0},
        {"bytes": 0.0},
    ]


def test_a_series_is_four_numbers() -> None:
    query = np.array([[1.0, 2.0], [3.0, 6.0]])
    expected = {"mean": 3.0, "deviation": np.std(query), "smallest": 1.0, "largest": 6.0}
    assert dict(summarised(query)) == pytest.approx(expected)


def test_gaps_in_a_series_are_left_out_and_told() -> None:
    found = dict(summarised(np.array([[1.0, np.nan], [3.0, np.inf]])))
    assert found == {"mean": 2.0, "deviation": 1.0, "smallest": 1.0, "largest": 3.0, "missing_ratio": 0.5}
    nothing = dict(summarised(np.full((2, 2), np.nan)))
    assert nothing.pop("missing_ratio") == 1.0
    assert all(math.isnan(value) for value in nothing.values())


def test_of_a_large_query_a_part_is_enough() -> None:
    pixels = np.random.default_rng(0).uniform(0, 1, (3, 512, 512)).astype(np.float32)
    found = dict(summarised(pixels))
    assert found["mean"] == pytest.approx(0.5, abs=0.02)
    assert (found["smallest"], found["largest"]) == pytest.approx((0.0, 1.0), abs=0.01)


def test_inputs_are_looked_at_now_and_then() -> None:
    now = 100.0
    inputs = InputSketches(every_s=0.1, clock=lambda: now)
    for _ in range(1000):
        now += 0.001
        inputs.look(np.array([now, np.nan]))
    first, second = (unpacked(packed) for packed in inputs.take().values())
    assert 9 <= first.count <= 11
    assert (second.count, second.missing) == (0, first.count)
    assert inputs.take() == {}


def test_of_boxes_the_best_counts_and_of_a_map_the_largest_class_without_a_confidence() -> None:
    metrics = ServingMetrics("main", "a" * 64)
    metrics.answered(Answer((0.95, 0.3), (2, 1), (), ((0, 0, 1, 1), (2, 2, 3, 3))), TIMES)
    metrics.answered(Answer((0.8, 0.2), (0, 1), mask=np.zeros((1, 5), np.uint8)), TIMES)
    metrics.answered(Answer(()), TIMES)
    told = metrics.take()
    assert (told["queries"], told["predictions"]) == (3, {"2": 1, "0": 1})
    assert told["confidence"] == [0] * 9 + [1]
