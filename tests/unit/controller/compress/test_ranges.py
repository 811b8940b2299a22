"""Linear quantisation and percentiles against cases worked out by hand."""

import numpy as np
import pytest

from controller.compress.calibrate.ranges import Histogram, Range, linear_parameters


@pytest.mark.parametrize(
    ("low", "high", "q_min", "q_max", "scale", "zero_point"),
    [
        (-1.0, 3.0, 0, 255, 4 / 255, 64),  # 0 - (-1) / (4/255) = 63.75
        (0.0, 2.55, 0, 255, 0.01, 0),
        (-1.28, 1.27, -128, 127, 0.01, 0),
        (1.0, 2.0, 0, 255, 2 / 255, 0),  # widened to hold 0
        (-2.0, -1.0, 0, 255, 2 / 255, 255),
        (-1.0, 1.0, -128, 127, 2 / 255, 0),  # -128 + 127.5 = -0.5 rounds to even
        (0.0, 0.0, 0, 255, 1.0, 0),  # a tensor that is always 0
        (0.0, 0.0, -128, 127, 1.0, 0),
        (5.0, 5.0, 0, 255, 5 / 255, 0),  # x_max = x_min, not 0: 5 is met exactly by q = 255
        (-5.0, -5.0, 0, 255, 5 / 255, 255),
    ],
)
def test_linear_parameters(low: float, high: float, q_min: int, q_max: int, scale: float, zero_point: int) -> None:
    found_scale, found_zero_point = linear_parameters(low, high, q_min, q_max)
    assert found_scale == pytest.approx(scale, rel=1e-12)
    assert found_zero_point == zero_point


@pytest.mark.parametrize("value", [5.0, -5.0, 0.0])
def test_a_constant_tensor_survives_quantisation(value: float) -> None:
    scale, zero_point = linear_parameters(value, value, 0, 255)
    integer = round(value / scale) + zero_point
    assert 0 <= integer <= 255
    assert (integer - zero_point) * scale == pytest.approx(value, abs=1e-12)


@pytest.mark.parametrize("pair", [(float("nan"), 1.0), (0.0, float("inf")), (1.0, 0.0)])
def test_what_is_no_range_is_refused(pair: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="no range"):
        linear_parameters(*pair, 0, 255)


def test_ranges_merge() -> None:
    assert Range(-1, 2).merged(Range(0, 3)) == Range(-1, 3)


def test_a_percentile_cuts_half_of_the_rest_on_either_side() -> None:
    histogram = Histogram(Range(0.0, 100.0), bins=100)
    histogram.add(np.arange(100, dtype=np.float32) + 0.5)  # one value a bin
    assert histogram.percentile_range(90.0) == Range(5.0, 95.0)
    assert histogram.percentile_range(100.0) == Range(0.0, 100.0)


def test_one_outlier_is_cut_and_the_rest_kept() -> None:
    histogram = Histogram(Range(0.0, 1000.0), bins=1000)
    histogram.add(np.full(9_999, 0.5, dtype=np.float32))
    histogram.add(np.array([1000.0], dtype=np.float32))
    assert histogram.percentile_range(99.9) == Range(0.0, 1.0)


def test_a_constant_tensor_has_a_percentile() -> None:
    histogram = Histogram(Range(3.0, 3.0))
    histogram.add(np.full(10, 3.0, dtype=np.float32))
    assert histogram.percentile_range(99.99) == Range(3.0, 3.0)


def test_batches_add_up() -> None:
    values = np.random.default_rng(0).normal(0, 1, 4096).astype(np.float32)
    over = Range(float(values.min()), float(values.max()))
    whole, parts = Histogram(over), Histogram(over)
    whole.add(values)
    for part in np.split(values, 8):
        parts.add(part)
    assert np.array_equal(whole.counts, parts.counts)
    assert whole.counts.sum() == 4096


def test_an_empty_histogram_has_no_percentile() -> None:
    with pytest.raises(ValueError, match="empty"):
        Histogram(Range(0.0, 1.0)).percentile_range(99.0)
