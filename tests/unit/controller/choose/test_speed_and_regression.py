"""Speed-ups, percentiles and the bound on R2: known values, and how often they are wrong."""

import math

import numpy as np
import pytest

from controller.choose.regression import r2_loss_bound
from controller.choose.speed import fleet_speed_up, percentile, speed_up


def test_a_speed_up_is_a_ratio_of_geometric_means_with_welch_s_interval() -> None:
    found = speed_up([2.0, 2.2, 2.1], [1.0, 1.1, 1.05])
    assert found.ratio == pytest.approx(2.0)
    assert found.lower == pytest.approx(1.7956, abs=1e-3)  # scipy.stats.ttest_ind(log, log, equal_var=False)
    assert found.lower * found.upper == pytest.approx(found.ratio**2)
    assert str(found) == "2.00x (1.80 to 2.23)"


def test_one_process_gives_no_interval() -> None:
    found = speed_up([2.0], [1.0, 1.1])
    assert (found.lower, found.upper) == (0, math.inf)
    assert "no interval" in str(found)
    assert speed_up([2.0, 2.0], [1.0, 1.0]).lower == pytest.approx(2.0)


@pytest.mark.parametrize("sides", [([], [1.0]), ([1.0], []), ([1.0, 0.0], [1.0])])
def test_a_speed_up_needs_positive_times(sides: tuple[list[float], list[float]]) -> None:
    with pytest.raises(ValueError, match="positive medians"):
        speed_up(*sides)


def test_equal_variants_are_called_different_in_five_of_a_hundred_pairs() -> None:
    random = np.random.default_rng(1)
    different = 0
    for _ in range(2000):
        draws = np.exp(random.normal(0, 0.05, (2, 5)))
        found = speed_up(tuple(draws[0]), tuple(draws[1]))
        different += not found.lower <= 1 <= found.upper
    assert 0.03 < different / 2000 < 0.06


def test_the_fleet_s_speed_up_has_the_widest_bounds_of_any_device() -> None:
    control = {"a": (2.0, 2.02), "b": (4.0, 4.4), "c": (1.0, 1.0)}
    variant = {"a": (1.0, 1.01), "b": (2.0, 2.1)}
    found = fleet_speed_up(control, variant)
    each = [speed_up(control[name], variant[name]) for name in variant]
    assert found.lower == min(one.lower for one in each)
    assert found.upper == max(one.upper for one in each)
    with pytest.raises(ValueError, match="no device"):
        fleet_speed_up({"a": (1.0,)}, {"b": (1.0,)})


@pytest.mark.parametrize(("fraction", "fewest"), [(0.95, 59), (0.99, 299)])
def test_a_percentile_needs_its_samples(fraction: float, fewest: int) -> None:
    samples = np.arange(1, fewest + 1)
    assert percentile(samples[:-1], fraction) is None
    found = percentile(samples, fraction)
    assert found is not None
    assert found.upper == fewest  # the largest sample, and no smaller one, is a bound


def test_percentiles_are_latencies_that_were_measured() -> None:
    found = percentile(np.arange(1000, 0, -1), 0.95)
    assert found is not None
    assert (found.value, found.lower, found.upper) == (950, 938, 962)  # by the binomial distribution
    assert percentile(np.empty(0, np.int64), 0.5) is None


def test_percentile_bounds_hold_as_often_as_they_say() -> None:
    random = np.random.default_rng(2)
    below = above = 0
    for _ in range(2000):
        found = percentile((random.exponential(1, 100) * 1e6).astype(np.int64), 0.95)
        assert found is not None
        below += found.upper < -math.log(0.05) * 1e6
        above += found.lower > -math.log(0.05) * 1e6
    assert below / 2000 < 0.06
    assert above / 2000 < 0.06


def test_r2_lost_is_the_mean_difference_over_the_variance() -> None:
    control, variant = np.linspace(0, 1, 50), np.linspace(0, 1, 50) + 0.1
    bound = r2_loss_bound(control, variant, 2.0, 0.95)
    assert bound.lost == pytest.approx(0.05)
    assert bound.upper == pytest.approx(0.05, abs=1e-9)  # every sample lost the same
    noisy = r2_loss_bound(control, variant + 0.1 * np.sin(np.arange(50)), 2.0, 0.95)
    assert noisy.upper > noisy.lost


@pytest.mark.parametrize("tail", [0.0, 1.0])
def test_the_r2_bound_misses_about_as_often_as_it_says(tail: float) -> None:
    """Normal, and lognormal (skewness 6): the second is the limit that the docstring names."""
    random = np.random.default_rng(3)
    missed = 0
    for _ in range(2000):
        lost = random.normal(0.1, 1, 60) if tail == 0 else random.lognormal(0, tail, 60)
        truth = 0.1 if tail == 0 else math.exp(tail**2 / 2)
        missed += r2_loss_bound(np.zeros(60), lost, 1.0, 0.95).upper < truth
    low, high = (0.04, 0.065) if tail == 0 else (0.1, 0.14)
    assert low < missed / 2000 < high


@pytest.mark.parametrize(
    ("control", "variant", "variance", "said"),
    [
        (np.zeros(29), np.zeros(29), 1.0, "29 samples are too few"),
        (np.zeros(30), np.zeros(31), 1.0, "errors of shape"),
        (np.zeros(30), np.full(30, np.nan), 1.0, "not finite"),
        (np.zeros(30), np.zeros(30), 0.0, "do not vary"),
    ],
)
def test_unusable_errors_are_refused(
    control: np.ndarray[tuple[int], np.dtype[np.float64]],
    variant: np.ndarray[tuple[int], np.dtype[np.float64]],
    variance: float,
    said: str,
) -> None:
    with pytest.raises(ValueError, match=said):
        r2_loss_bound(control, variant, variance, 0.95)
