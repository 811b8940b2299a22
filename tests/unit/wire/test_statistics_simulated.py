"""How often the statistics are wrong, by simulation with fixed seeds."""

import math

import numpy as np
import pytest

from wire.statistics import compare, log_interval, percentile_bounds

PAIRS = 3000
FEWER = 1000
"""Pairs where the share is far from its limit."""
SPREAD = 0.01
"""Standard deviation of a process median's logarithm: one per cent, as fresh processes on a quiet board have."""


def simulated_medians(seed: int, processes: tuple[int, int], spreads: tuple[float, float]) -> list[list[list[float]]]:
    """Return PAIRS of two sides' process medians, equal in truth."""
    random = np.random.default_rng(seed)
    sides = [np.exp(random.normal(0, spread, (PAIRS, n))) for n, spread in zip(processes, spreads, strict=True)]
    return [[side[pair].tolist() for side in sides] for pair in range(PAIRS)]


@pytest.mark.parametrize(
    ("processes", "spreads"),
    [((5, 5), (SPREAD, SPREAD)), ((5, 10), (SPREAD, 3 * SPREAD)), ((3, 3), (SPREAD, SPREAD))],
    ids=["as measured", "unequal", "quick"],
)
def test_equal_variants_are_called_different_as_often_as_designed(
    processes: tuple[int, int], spreads: tuple[float, float]
) -> None:
    verdicts = [compare(a, b).verdict for a, b in simulated_medians(1, processes, spreads)]
    share = sum(verdict in ("faster", "slower") for verdict in verdicts) / PAIRS
    # Three standard errors of 3000 pairs are 0.0086. Welch's t is a little shy where the sides are small.
    assert 0.010 <= share <= 0.025 + 3 * math.sqrt(0.025 * 0.975 / PAIRS)


def test_processes_that_differ_make_their_samples_useless_as_the_unit() -> None:
    """Why the process is the unit: the same comparison over samples is wrong in most of the pairs."""
    random = np.random.default_rng(2)
    wrong = 0
    for _ in range(100):
        sides = random.normal(0, SPREAD, (2, 5, 1)) + random.normal(0, SPREAD, (2, 5, 100))
        a, b = np.exp(sides).reshape(2, 500).tolist()
        wrong += compare(a, b).verdict in ("faster", "slower")
    assert wrong > 60


@pytest.mark.parametrize(("slower_by", "found_in"), [(1.05, 0.99), (1.02, 0.3)])
def test_a_true_difference_is_found(slower_by: float, found_in: float) -> None:
    pairs = simulated_medians(3, (5, 5), (SPREAD, SPREAD))[:FEWER]
    slower = [compare(a, [slower_by * value for value in b]).verdict == "slower" for a, b in pairs]
    assert sum(slower) / FEWER >= found_in


def test_the_detectable_difference_is_found_in_nine_of_ten() -> None:
    pairs = simulated_medians(4, (5, 5), (SPREAD, SPREAD))[:FEWER]
    typical = float(np.median([compare(a, b).detectable_ratio for a, b in pairs]))
    found = [compare(a, [typical * value for value in b]).verdict == "slower" for a, b in pairs]
    assert 0.84 <= sum(found) / FEWER <= 0.96
    assert 1.02 < typical < 1.04


@pytest.mark.parametrize("processes", [3, 5, 10])
def test_intervals_hold_the_truth_as_often_as_they_say(processes: int) -> None:
    pairs = simulated_medians(5, (processes, 2), (0.05, SPREAD))
    held = 0
    for values, _ in pairs:
        _, lower, upper = log_interval(values)
        held += lower <= 1 <= upper
    assert held / PAIRS == pytest.approx(0.95, abs=0.013)


@pytest.mark.parametrize(("n", "fraction"), [(100, 0.5), (200, 0.95), (1000, 0.99)])
def test_percentile_bounds_hold_the_truth_at_least_as_often_as_they_say(n: int, fraction: float) -> None:
    random = np.random.default_rng(6)
    truth = -math.log(1 - fraction)
    held = 0
    for _ in range(1500):
        bounds = percentile_bounds(random.exponential(1, n).tolist(), fraction)
        assert bounds is not None
        held += bounds[0] <= truth <= bounds[1]
    assert held / 1500 > 0.94
