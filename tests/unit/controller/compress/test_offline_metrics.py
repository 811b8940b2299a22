"""Metrics against cases worked out by hand."""

import numpy as np
import pytest

from controller.compress.metrics import (
    classification_metrics,
    per_class_metrics,
    regression_metrics,
    sqnr_db,
    top1_agreement_ratio,
)


def test_accuracy_and_macro_f1_by_hand() -> None:
    labels, predicted = np.array([0, 0, 0, 1, 1, 2]), np.array([0, 0, 1, 1, 1, 0])
    scores = classification_metrics(predicted, labels, 3)
    # class 0: precision 2/3, recall 2/3, F1 2/3; class 1: 2/3, 1, 4/5; class 2: 0, 0, 0
    assert scores["accuracy"] == pytest.approx(4 / 6)
    assert scores["macro_precision"] == pytest.approx((2 / 3 + 2 / 3 + 0) / 3)
    assert scores["macro_recall"] == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert scores["macro_f1"] == pytest.approx((2 / 3 + 4 / 5 + 0) / 3)


def test_a_class_that_never_occurs_is_left_out_of_the_means() -> None:
    scores = classification_metrics(np.array([0, 1]), np.array([0, 1]), 5)
    assert scores["macro_f1"] == 1.0
    assert per_class_metrics(np.array([0, 1]), np.array([0, 1]), 5)[4]["f1"] == 0.0


def test_regression_by_hand() -> None:
    values, labels = np.array([[1.0], [2.0], [4.0]]), np.array([[1.0], [3.0], [5.0]])
    scores = regression_metrics(values, labels)
    assert scores["mae"] == pytest.approx(2 / 3)
    assert scores["rmse"] == pytest.approx((2 / 3) ** 0.5)
    assert scores["r2"] == pytest.approx(1 - 2 / 8)


@pytest.mark.parametrize(("given", "r2"), [(3.0, 1.0), (4.0, 0.0)])
def test_r2_of_labels_that_never_vary(given: float, r2: float) -> None:
    assert regression_metrics(np.full((2, 1), given), np.full((2, 1), 3.0))["r2"] == r2


@pytest.mark.parametrize(
    ("reference", "outputs", "expected"),
    [
        ([[3.0, 4.0]], [[3.0, 4.0]], None),  # nothing differs
        ([[3.0, 4.0]], [[3.0, 4.5]], 20.0),  # 25 / 0.25
        ([[10.0, 0.0]], [[0.0, 0.0]], 0.0),
        ([[0.0, 0.0]], [[1.0, 0.0]], float("-inf")),
    ],
)
def test_signal_to_noise(reference: list[list[float]], outputs: list[list[float]], expected: float | None) -> None:
    found = sqnr_db(np.array(reference), np.array(outputs))
    assert found == (None if expected is None else pytest.approx(expected))


def test_agreement() -> None:
    assert top1_agreement_ratio(np.array([[1, 2], [2, 1]]), np.array([[1, 2], [1, 2]])) == 0.5


@pytest.mark.parametrize("predicted", [[], [0, 1, 1]])
def test_samples_that_do_not_match_are_refused(predicted: list[int]) -> None:
    with pytest.raises(ValueError, match="equal and not empty"):
        classification_metrics(np.array(predicted, dtype=int), np.array([0, 1][: len(predicted)], dtype=int), 2)
    with pytest.raises(ValueError, match="shape"):
        sqnr_db(np.zeros((2, 1)), np.zeros((1, 2)))
