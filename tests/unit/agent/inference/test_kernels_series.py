"""Series kernels against plain numpy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from agent.inference.kernels.series import NAN_RULES, repair_series, resample_linear, window_statistics

Doubles = NDArray[np.float64]
finite = st.floats(-1e6, 1e6, allow_nan=False)
shapes = st.tuples(st.integers(1, 4), st.integers(1, 40))
series = shapes.flatmap(lambda shape: hnp.arrays(np.float64, shape, elements=finite))
holes = shapes.flatmap(
    lambda shape: hnp.arrays(np.float64, shape, elements=st.one_of(finite, st.sampled_from([np.nan, np.inf, -np.inf])))
)


def interpolated(row: Doubles) -> Doubles:
    known = np.flatnonzero(np.isfinite(row))
    if known.size == 0:
        return row
    return np.interp(np.arange(row.size), known, row[known])


@given(holes)
def test_interpolation_bridges_every_gap(values: Doubles) -> None:
    repaired = values.copy()
    bad = repair_series(repaired, NAN_RULES["interpolate"])
    empty = ~np.isfinite(values).any(axis=1)
    assert bad == empty.sum() * values.shape[1]
    for row, holed in zip(repaired[~empty], values[~empty], strict=True):
        np.testing.assert_allclose(row, interpolated(holed), rtol=1e-9, atol=1e-6)


@given(holes)
def test_zero_puts_zeros_and_nothing_else(values: Doubles) -> None:
    repaired = values.copy()
    assert repair_series(repaired, NAN_RULES["zero"]) == 0
    np.testing.assert_array_equal(repaired, np.where(np.isfinite(values), values, 0.0))


@given(holes)
def test_error_counts_and_changes_nothing(values: Doubles) -> None:
    kept = values.copy()
    assert repair_series(kept, NAN_RULES["error"]) == (~np.isfinite(values)).sum()
    np.testing.assert_array_equal(kept, values)


@given(series, st.integers(1, 60))
def test_resampling_is_numpy_interp_over_equal_steps(values: Doubles, length: int) -> None:
    out = np.empty((values.shape[0], length))
    resample_linear(values, out)
    positions = np.linspace(0, values.shape[1] - 1, length)
    expected = [np.interp(positions, np.arange(values.shape[1]), row) for row in values]
    np.testing.assert_allclose(out, expected, rtol=1e-9, atol=1e-6)


@given(series, st.sampled_from([0, 1]))
def test_statistics_are_numpy_mean_and_std(values: Doubles, ddof: int) -> None:
    normal = np.empty((3, values.shape[0]))
    window_statistics(values, ddof, 1e-8, normal)
    deviation = np.zeros(values.shape[0]) if values.shape[1] <= ddof else values.std(axis=1, ddof=ddof)
    np.testing.assert_allclose(normal[0], values.mean(axis=1), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(normal[1], np.maximum(deviation, 1e-8), rtol=1e-6, atol=1e-9)


def test_a_constant_channel_is_divided_by_epsilon() -> None:
    normal = np.empty((3, 1))
    window_statistics(np.full((1, 5), 3.0), 1, 0.25, normal)
    assert normal[:, 0].tolist() == [3.0, 0.25, 0.0]


def test_two_passes_keep_a_small_deviation_on_a_large_offset() -> None:
    values = 1e9 + np.array([[0.0, 0.1, 0.2, 0.3]])
    normal = np.empty((3, 1))
    window_statistics(values, 0, 1e-12, normal)
    assert normal[1, 0] == pytest.approx(np.std([0.0, 0.1, 0.2, 0.3]), rel=1e-6)
