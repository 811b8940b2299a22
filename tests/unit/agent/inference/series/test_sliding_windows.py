"""Windows that share many points against numpy's `sliding_window_view`: offsets, spikes."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.inference.kernels.windows.sliding import cut_windows, sliding_deviations, sliding_ranges
from tests.unit.agent.inference.series.plain import Doubles, made_up, windows_of

few = settings(deadline=None, max_examples=60)
sizes = st.tuples(st.integers(1, 3), st.integers(1, 70), st.integers(1, 80), st.integers(0, 200), st.integers(0, 2**31))
"""Channels, length, hop, points beyond the first window, seed."""


def numbers(kernel: Any, values: Doubles, length: int, hop: int, rule: list[float]) -> Doubles:
    normal = np.full(((values.shape[1] - length) // hop + 1, len(values), 3), np.nan)
    kernel(values, length, hop, np.array(rule), np.full((3, length), np.nan), normal)
    return normal


@few
@given(sizes, st.sampled_from([0.0, -1e3, 1e9]), st.sampled_from([0, 1]))
def test_deviations_are_those_of_two_passes(size: tuple[int, ...], offset: float, ddof: int) -> None:
    channels, length, hop, beyond, seed = size
    values = made_up(channels, length, beyond, seed) + offset
    normal = numbers(sliding_deviations, values, length, hop, [ddof, 1e-3])
    windows = windows_of(values, length, hop)
    deviation = windows.std(axis=2, ddof=ddof) if length > ddof else np.zeros(windows.shape[:2])
    np.testing.assert_allclose(normal[..., 0] - offset, windows.mean(axis=2) - offset, atol=1e-12 + 1e-15 * abs(offset))
    np.testing.assert_allclose(normal[..., 1], np.maximum(deviation, 1e-3), rtol=1e-11 if abs(offset) < 1e4 else 1e-5)


@pytest.mark.parametrize("hop", [1, 3, 40])
def test_a_spike_leaves_no_trace_in_the_windows_behind_it(hop: int) -> None:
    values, length = made_up(1, 64, 2000, 5), 64
    values[0, 700] = 1e12
    normal = numbers(sliding_deviations, values, length, hop, [0, 1e-9])
    starts = np.arange(len(normal)) * hop
    clean = (starts > 700) | (starts + length <= 700)
    windows = windows_of(values, length, hop)[clean]
    np.testing.assert_allclose(normal[clean, :, 1], windows.std(axis=2), rtol=1e-11)


@few
@given(sizes, st.sampled_from([(0.0, 1.0), (-2.0, 3.0)]))
def test_ranges_are_those_of_each_window(size: tuple[int, ...], ends: tuple[float, float]) -> None:
    channels, length, hop, beyond, seed = size
    values, (low, high) = np.round(made_up(channels, length, beyond, seed), 1), ends
    normal = numbers(sliding_ranges, values, length, hop, [low, high, 1e-8])
    windows = windows_of(values, length, hop)
    np.testing.assert_array_equal(normal[..., 0], windows.min(axis=2))
    np.testing.assert_allclose(normal[..., 1], np.maximum(np.ptp(windows, axis=2), 1e-8) / (high - low), rtol=1e-12)
    assert (normal[..., 2] == low).all()


@few
@given(sizes)
def test_windows_are_cut_and_brought_to_scale(size: tuple[int, ...]) -> None:
    channels, length, hop, beyond, seed = size
    values = made_up(channels, length, beyond, seed)
    windows = windows_of(values, length, hop)
    normal = np.random.default_rng(seed).uniform(0.5, 2.0, size=(len(windows), channels, 3))
    out = np.full(windows.shape, np.nan, dtype=np.float32)
    cut_windows(values, hop, normal, out)
    centre, divisor, offset = np.moveaxis(normal, 2, 0)[..., None]
    np.testing.assert_allclose(out, (windows - centre) / divisor + offset, rtol=1e-6, atol=1e-6)
