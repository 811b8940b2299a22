"""Ratios over samples: pseudo-values by hand and by leaving out, intervals, and coverage of the paired bound."""

import numpy as np
import pytest

from controller.choose.intervals.evidence import Ratios
from controller.choose.intervals.jackknife import class_intervals, class_ratios, mean_ratio, ratio_pseudo_values
from controller.choose.intervals.loss import paired_bound


def ratios(parts: list[list[float]], wholes: list[list[float]]) -> Ratios:
    whole = np.array(wholes, dtype=float)
    return Ratios(np.array(parts, dtype=float), whole, whole > 0)


def test_the_mean_is_over_classes_that_labels_have() -> None:
    found = ratios([[2, 0, 0], [1, 3, 0]], [[4, 0, 0], [2, 4, 0]])
    assert class_ratios(found) == pytest.approx([0.5, 0.75, 0.0])
    assert mean_ratio(found) == pytest.approx(0.625)


def test_pseudo_values_are_what_leaving_out_gives() -> None:
    random = np.random.default_rng(2)
    wholes = random.integers(0, 9, (7, 3)).astype(float)
    found = Ratios(np.floor(wholes * random.random((7, 3))), wholes, wholes > 0)
    for sample, value in enumerate(ratio_pseudo_values(found)):
        kept = np.arange(7) != sample
        without = mean_ratio(Ratios(found.parts[kept], found.wholes[kept], found.counted[kept]))
        assert value == pytest.approx(7 * mean_ratio(found) - 6 * without)


def test_no_label_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing can be judged"):
        mean_ratio(ratios([[0.0]], [[0.0]]))


def test_a_class_of_one_sample_has_no_interval() -> None:
    found = class_intervals(ratios([[2, 1], [1, 0], [3, 0]], [[4, 2], [2, 0], [4, 0]]), 0.95)
    assert found[1] == (0.0, 1.0)
    assert 0 < found[0][0] < 0.6 < found[0][1] <= 1


def test_where_nothing_differs_the_bound_is_the_rule_of_three() -> None:
    same = ratios([[2, 5]] * 80, [[4, 8]] * 80)
    bound = paired_bound(same, same, 0.95)
    assert bound.lost == 0.0
    assert bound.upper == pytest.approx(1 - 0.05 ** (1 / 80))


@pytest.mark.parametrize("samples", [20, 80])
def test_the_paired_bound_covers_the_true_loss(samples: int) -> None:
    """Pictures of two classes; the control meets 80 % of a picture's pixels, the variant what a beta leaves of them."""
    random, sets, missed = np.random.default_rng(9), 300, 0
    for _ in range(sets):
        wholes = random.integers(20, 200, (samples, 2)).astype(float)
        kept = random.beta(20, 1, (samples, 1)) ** 2
        control = Ratios(0.8 * wholes, wholes, wholes > 0)
        variant = Ratios(0.8 * wholes * kept, wholes, wholes > 0)
        truth = 0.8 * (1 - 20 / 22)  # mean of beta(20, 1) squared: 20 * 21 / (21 * 22)
        missed += paired_bound(control, variant, 0.95).upper < truth
    assert missed / sets <= 0.05 + 2 * (0.05 * 0.95 / sets) ** 0.5
