"""The bound that leaves room for what was not seen: known values, agreement with the exact one, and coverage."""

import numpy as np
import pytest

from controller.choose.intervals.unseen import mean_interval, mean_upper
from controller.choose.paired import PairedTable, loss_bound


@pytest.mark.parametrize("samples", [15, 59, 242, 598])
def test_where_nothing_differs_it_is_the_rule_of_three(samples: int) -> None:
    assert mean_upper(np.zeros(samples), 1.0, 0.95) == pytest.approx(1 - 0.05 ** (1 / samples))


@pytest.mark.parametrize(("lost", "won"), [(1, 0), (5, 1), (10, 10), (24, 3), (0, 6)])
def test_of_right_or_wrong_answers_it_is_close_to_the_exact_bound(lost: int, won: int) -> None:
    values = np.concatenate([np.ones(lost), -np.ones(won), np.zeros(242 - lost - won)])
    exact = loss_bound(PairedTable(lost, won, 242), 0.95).upper
    assert exact - 0.002 <= mean_upper(values, 1.0, 0.95) <= exact + 0.008


@pytest.mark.parametrize("samples", [15, 40, 200])
@pytest.mark.parametrize("beta", [(0.1, 2.0), (2.0, 2.0), (0.5, 20.0)])
def test_coverage_of_bounded_values(samples: int, beta: tuple[float, float]) -> None:
    """A mean above the bound is seen in at most 5 % of all sets; seeded, with room for chance (2 standard errors)."""
    random, truth, sets = np.random.default_rng(11), beta[0] / sum(beta), 600
    drawn = random.beta(*beta, size=(sets, samples))
    missed = sum(mean_upper(row, 1.0, 0.95) < truth for row in drawn)
    assert missed / sets <= 0.05 + 2 * (0.05 * 0.95 / sets) ** 0.5


def test_both_ends_are_kept() -> None:
    low, high = mean_interval(np.array([1.0, 1.0, 1.0]), (0.0, 1.0), 0.95)
    assert 0 <= low < 0.6
    assert high == 1.0


@pytest.mark.parametrize("values", [[], [1.5], [np.nan]])
def test_values_that_cannot_be_are_refused(values: list[float]) -> None:
    with pytest.raises(ValueError, match="finite and not above 1"):
        mean_upper(np.array(values), 1.0, 0.95)
