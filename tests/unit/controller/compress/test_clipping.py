"""Ranges that clip: against distributions whose best range is known, and against trying everything."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from controller.compress.calibrate.clipping import LEVELS, Method, least_divergence, least_error
from controller.compress.calibrate.ranges import Histogram, Range, linear_parameters


def histogram_of(values: NDArray[np.float32]) -> Histogram:
    histogram = Histogram(Range(float(values.min()), float(values.max())))
    histogram.add(values)
    return histogram


def squared_error(values: NDArray[np.float32], over: Range) -> float:
    scale, zero = linear_parameters(over.low, over.high, 0, LEVELS - 1)
    restored = (np.clip(np.rint(values / scale) + zero, 0, LEVELS - 1) - zero) * scale
    return float(((values - restored) ** 2).mean())


def bell(count: int, outlier: float, seed: int = 0) -> NDArray[np.float32]:
    values = np.random.default_rng(seed).normal(0, 1, count)
    values[0] = outlier
    return values.astype(np.float32)


def test_with_entropy_one_outlier_does_not_take_the_levels_of_all_others() -> None:
    over = least_divergence(histogram_of(bell(200_000, 60.0)))
    assert 3 < over.high < 12
    assert -6 < over.low < -3
    assert 3 < least_divergence(histogram_of(np.abs(bell(50_000, 30.0)))).high < 12


def test_the_zeros_behind_a_relu_do_not_decide() -> None:
    values = np.maximum(bell(100_000, 4.0), 0)  # half of them are zero
    values[:200] = np.linspace(3, 6, 200)
    over = least_divergence(histogram_of(values))
    assert over.high > 3


def test_the_least_error_is_that_of_trying_all_ends() -> None:
    values = bell(5_000, 9.0)
    histogram = histogram_of(values)
    low, high = histogram.over.low, histogram.over.high
    tried = [Range(low * a, high * b) for a in np.linspace(0.1, 1, 31) for b in np.linspace(0.1, 1, 31)]
    assert squared_error(values, least_error(histogram)) <= 1.01 * min(squared_error(values, each) for each in tried)


def test_evenly_spread_values_keep_their_range() -> None:
    values = np.linspace(-1, 1, 100_000).astype(np.float32)
    for name in ("mse", "entropy"):
        over = Method(name).range_of(histogram_of(values))
        assert over.low == pytest.approx(-1, abs=0.03)
        assert over.high == pytest.approx(1, abs=0.03)


@settings(max_examples=25)
@given(st.integers(0, 1000), st.floats(1.0, 100.0))
def test_the_error_is_no_larger_than_with_the_whole_range_or_a_percentile(seed: int, outlier: float) -> None:
    values = bell(20_000, outlier, seed)
    histogram = histogram_of(values)
    found = squared_error(values, least_error(histogram))
    assert found <= squared_error(values, histogram.over) * 1.01
    for percentile in (99.0, 99.9, 99.99):
        assert found <= squared_error(values, histogram.percentile_range(percentile)) * 1.05


def test_values_of_one_sign_keep_zero_as_their_end() -> None:
    values = np.abs(bell(50_000, 30.0))
    for find in (least_error, least_divergence):
        over = find(histogram_of(values))
        assert 0 <= over.low < 0.01
        assert 3 < over.high <= 30


@pytest.mark.parametrize("name", ["mse", "entropy", "percentile"])
@pytest.mark.parametrize("value", [0.0, 3.0, -2.0])
def test_a_tensor_of_one_value_keeps_it(name: Any, value: float) -> None:
    over = Method(name).range_of(histogram_of(np.full(100, value, dtype=np.float32)))
    scale, zero = linear_parameters(over.low, over.high, 0, LEVELS - 1)
    integer = np.clip(round(value / scale) + zero, 0, LEVELS - 1)
    assert (integer - zero) * scale == pytest.approx(value, abs=1e-6)


@pytest.mark.parametrize("name", ["mse", "entropy", "percentile"])
def test_nothing_counted_has_no_range(name: Any) -> None:
    with pytest.raises(ValueError, match="empty"):
        Method(name).range_of(Histogram(Range(0.0, 1.0)))
