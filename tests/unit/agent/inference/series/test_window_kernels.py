"""Statistics of a window, differences, and the ring, against plain numpy."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from agent.inference.kernels.series import NAN_RULES, repair_series
from agent.inference.kernels.windows.ring import START, TAKEN, push_points
from agent.inference.kernels.windows.statistics import difference_series, window_extremes, window_quartiles
from tests.unit.agent.inference.series.plain import Doubles, finite, series, shapes

few = settings(deadline=None, max_examples=50)
holes = shapes.flatmap(
    lambda shape: hnp.arrays(np.float64, shape, elements=st.one_of(finite, st.just(np.nan)), fill=st.nothing())
)


@few
@given(series, st.sampled_from([(0.0, 1.0), (-1.0, 1.0), (2.0, 2.5)]))
def test_extremes_bring_a_window_onto_low_and_high(values: Doubles, ends: tuple[float, float]) -> None:
    normal, (low, high) = np.full((3, len(values)), np.nan), ends
    window_extremes(values, low, high, 1e-8, normal)
    span = np.maximum(np.ptp(values, axis=1), 1e-8)
    expected = (values - values.min(axis=1)[:, None]) / span[:, None] * (high - low) + low
    given_back = (values - normal[0][:, None]) / normal[1][:, None] + normal[2][:, None]
    np.testing.assert_allclose(given_back, expected, rtol=1e-9, atol=1e-9)


@few
@given(series)
def test_quartiles_are_numpy_s(values: Doubles) -> None:
    normal = np.full((3, len(values)), np.nan)
    window_quartiles(values, 1e-8, np.zeros(values.shape[1]), normal)
    lower, median, upper = np.quantile(values, [0.25, 0.5, 0.75], axis=1)
    np.testing.assert_allclose(normal[0], median, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(normal[1], np.maximum(upper - lower, 1e-8), rtol=1e-9, atol=1e-8)
    assert normal[2].tolist() == [0.0] * len(values)


def test_quartiles_of_many_equal_and_of_sorted_values() -> None:
    values = np.stack([np.arange(2001.0), np.arange(2001.0)[::-1], np.zeros(2001), np.arange(2001.0) % 2])
    normal = np.zeros((3, 4))
    window_quartiles(values, 1e-8, np.zeros(2001), normal)
    assert normal[0].tolist() == [1000.0, 1000.0, 0.0, 0.0]
    assert normal[1].tolist() == [1000.0, 1000.0, 1e-8, 1.0]


@few
@given(series, st.integers(0, 4))
def test_differences_are_numpy_diff_again_and_again(values: Doubles, order: int) -> None:
    order = min(order, values.shape[1] - 1)
    out = np.full((len(values), values.shape[1] - order), np.nan)
    kept = values.copy()
    difference_series(values, np.zeros_like(values), out)
    np.testing.assert_array_equal(out, np.diff(values, n=order, axis=1))
    np.testing.assert_array_equal(values, kept)


@few
@given(holes)
def test_forward_holds_the_last_value_and_the_first_one_backwards(values: Doubles) -> None:
    repaired = values.copy()
    bad = repair_series(repaired, NAN_RULES["forward"])
    empty = np.isnan(values).all(axis=1)
    assert bad == empty.sum() * values.shape[1]
    for row, holed in zip(repaired[~empty], values[~empty], strict=True):
        known = np.flatnonzero(~np.isnan(holed))
        before = np.maximum(np.searchsorted(known, np.arange(holed.size), side="right") - 1, 0)
        np.testing.assert_array_equal(row, holed[known[before]])


@few
@given(st.integers(1, 3), st.integers(1, 12), st.lists(st.integers(1, 30), min_size=1, max_size=8))
def test_a_ring_holds_the_last_points_in_order(channels: int, length: int, counts: list[int]) -> None:
    ring, state = np.full((channels, 2 * length), np.nan), np.zeros(2, dtype=np.int64)
    stream = np.random.default_rng(length).normal(size=(channels, sum(counts)))
    end = 0
    for count in counts:
        push_points(np.ascontiguousarray(stream[:, end : end + count]), state, ring)
        end += count
        held = min(end, length)
        assert state[TAKEN] == held
        newest = ring[:, state[START] + length - held : state[START] + length]
        np.testing.assert_array_equal(newest, stream[:, end - held : end])
