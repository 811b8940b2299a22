"""Thresholds, ties and numbers that are none in a classification; integer models go the same way."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from agent.inference.post import Answer, Surroundings, make_post
from wire import spec

Floats = NDArray[np.float32]
LABELS = ("ash", "beech", "cedar", "elm")


def answer(scores: list[float], **fields: object) -> Answer:
    output = spec.TensorSpec(name="y", shape=(-1, len(scores)))
    given = {"output": output, "labels": LABELS[: len(scores)], "top_k": 3, **fields}
    return make_post(spec.ClassificationPost.model_validate(given), Surroundings()).finish(
        [np.array([scores], np.float32)]
    )


def test_classes_that_reach_the_threshold_are_told() -> None:
    found = answer([0.5, 0.2, 0.9], activation="none", threshold=0.5)
    assert (found.classes, found.labels, found.best) == ((2, 0), ("cedar", "ash"), 2)
    assert found.values == pytest.approx((0.9, 0.5))


@pytest.mark.parametrize("threshold", [0.1, 0.3, 0.5, 0.7, 0.9])
def test_a_score_of_the_threshold_reaches_it(threshold: float) -> None:
    """As in float32, in which a model says it."""
    below = float(np.nextafter(np.float32(threshold), np.float32(0)))
    assert answer([threshold, below], activation="none", threshold=threshold).classes == (0,)


def test_a_threshold_that_no_output_can_hold_is_not_reached() -> None:
    assert answer([3e38, 1.0], activation="none", threshold=1e300).classes == ()


def test_none_may_reach_it_and_the_best_class_is_known_all_the_same() -> None:
    found = answer([0.5, 0.2, 0.9], activation="none", threshold=0.95)
    assert (found.classes, found.labels, found.values, found.best) == ((), (), (), 2)


def test_the_threshold_is_one_of_probabilities() -> None:
    assert answer([1.0, 3.0, -1.0], activation="sigmoid", threshold=0.7).classes == (1, 0)
    assert answer([1.0, 3.0, -1.0], activation="softmax", threshold=0.7).classes == (1,)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid", "none"])
def test_scores_that_are_no_numbers_are_answered(activation: str) -> None:
    for scores in ([np.nan] * 3, [np.nan, 1.0, 2.0], [np.inf, -np.inf, 0.0], [3e38, -3e38, 3e38]):
        found = answer(scores, activation=activation)
        assert found.classes == tuple(
            sorted(range(3), key=lambda number: (-np.nan_to_num(scores[number], nan=-np.inf), number))
        )
        assert len(found.values) == 3
        assert answer([np.nan] * 3, activation=activation, threshold=0.1).classes == ()


def test_probabilities_that_saturate_keep_the_order_of_their_scores() -> None:
    assert answer([90.0, 100.0, 95.0], activation="sigmoid").classes == (1, 2, 0)


@settings(deadline=None, max_examples=30)
@given(
    hnp.arrays(np.float32, st.integers(1, 4), elements=st.floats(-9, 9, width=32)),
    st.sampled_from(["softmax", "sigmoid"]),
    st.floats(0, 1),
    st.integers(1, 5),
)
def test_an_answer_is_the_threshold_on_sorted_probabilities(
    scores: Floats, activation: str, threshold: float, k: int
) -> None:
    wide = scores.astype(np.float64)
    shares = (
        np.exp(wide - wide.max()) / np.exp(wide - wide.max()).sum()
        if activation == "softmax"
        else 1 / (1 + np.exp(-wide))
    )
    order = np.argsort(-scores, kind="stable")[:k]
    wanted = [int(number) for number in order if np.float32(shares[number]) >= threshold]
    found = answer(scores.tolist(), activation=activation, threshold=threshold, top_k=k)
    clear = np.abs(shares - threshold) > 1e-6
    assert [number for number in found.classes if clear[number]] == [number for number in wanted if clear[number]]
    assert found.best == int(np.argmax(scores))
