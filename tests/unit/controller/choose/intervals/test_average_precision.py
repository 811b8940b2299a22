"""Average precision by hand, as COCO counts it; pseudo-values by leaving pictures out; coverage of the bound."""

import numpy as np
import pytest

from controller.choose.intervals.average_precision import (
    class_precisions,
    mean_precision,
    precision_pseudo_values,
)
from controller.choose.intervals.evidence import Matches
from controller.choose.intervals.loss import paired_bound


def matches(rows: list[tuple[int, int, float, bool]], truths: list[list[int]]) -> Matches:
    """Return boxes given as (picture, class, score, whether it is right), with one threshold."""
    images, classes, scores, right = (np.array(column) for column in zip(*rows, strict=True))
    return Matches(images, classes, scores.astype(float), right.astype(bool)[:, None], np.array(truths))


def test_average_precision_by_hand() -> None:
    # Best first: right, wrong, right; of four true boxes. Precision 1 up to recall 1/4, 2/3 up to 1/2, then nothing.
    found = matches([(0, 0, 0.9, True), (0, 0, 0.8, False), (1, 0, 0.7, True)], [[2], [2]])
    at = [1.0] * 26 + [2 / 3] * 25 + [0.0] * 50  # 101 recalls: 0 to 0.25, 0.26 to 0.5, the others
    assert class_precisions(found)[0, 0] == pytest.approx(sum(at) / 101)


def test_a_later_better_precision_counts_for_lower_recalls() -> None:
    found = matches([(0, 0, 0.9, False), (0, 0, 0.8, True), (0, 0, 0.7, True)], [[2]])
    assert class_precisions(found)[0, 0] == pytest.approx(2 / 3)


def test_a_class_without_true_boxes_is_left_out_and_one_without_answers_is_zero() -> None:
    found = matches([(0, 0, 0.9, True), (0, 1, 0.5, False)], [[1, 0, 1]])
    assert np.isnan(class_precisions(found)[1, 0])
    assert class_precisions(found)[2, 0] == 0.0
    assert mean_precision(class_precisions(found)) == 0.5
    with pytest.raises(ValueError, match="no sample has a true box"):
        mean_precision(class_precisions(matches([(0, 0, 0.9, False)], [[0]])))


def drawn(random: np.random.Generator, pictures: int, share: float) -> tuple[Matches, Matches]:
    """Return what control and variant answered: two true boxes a picture, the variant misses more of them."""
    rows: tuple[list[tuple[int, int, float, bool]], ...] = ([], [])
    for picture in range(pictures):
        for number in (0, 1):
            score, lost = random.random(), random.random() < share
            rows[0].append((picture, number, score, True))
            rows[1].append((picture, number, score, not lost))
    truths = [[1, 1]] * pictures
    return matches(rows[0], truths), matches(rows[1], truths)


def test_pseudo_values_are_what_leaving_out_gives() -> None:
    _, found = drawn(np.random.default_rng(4), 9, 0.4)
    whole = mean_precision(class_precisions(found))
    for picture, value in enumerate(precision_pseudo_values(found)):
        kept, rest = found.images != picture, np.arange(9) != picture
        left = Matches(
            found.images[kept], found.classes[kept], found.scores[kept], found.right[kept],
            found.truths[rest],
        )  # fmt: skip
        assert value == pytest.approx(9 * whole - 8 * mean_precision(class_precisions(left)))


def test_the_paired_bound_covers_the_true_loss() -> None:
    random, sets, missed = np.random.default_rng(6), 60, 0
    control, large = drawn(random, 5_000, 0.1)
    truth = mean_precision(class_precisions(control)) - mean_precision(class_precisions(large))
    for _ in range(sets):
        bound = paired_bound(*drawn(random, 40, 0.1), 0.95)
        missed += bound.upper < truth
    assert missed <= 6  # of 60 at 5 %: more has a chance of 3 %
