"""Windows that consist of blocks against plain numpy: offsets, spikes, what is missing or too large.

Tolerance: results lie within 1e-6 of numpy's two passes in extended precision, for windows whose mean is up to a
thousand times their deviation; where it is a thousand million times, float64 itself holds seven digits of a deviation,
and results lie within 1e-5.
"""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.inference.kernels.series import LARGEST
from agent.inference.kernels.windows.blocks import (
    LEAST_BLOCK,
    block_layout,
    block_room,
    block_size,
    count_unusable,
    cut_blocks,
)
from tests.unit.agent.inference.series.plain import Doubles, made_up, windows_of

few = settings(deadline=None, max_examples=60)
any_size = st.tuples(st.integers(1, 70), st.integers(1, 80))
of_blocks = st.tuples(st.integers(LEAST_BLOCK, 20), st.integers(1, 5), st.integers(1, 7)).map(
    lambda drawn: (drawn[0] * drawn[1], drawn[0] * drawn[2])
)
cuts = st.one_of(any_size, of_blocks)
"""Length and hop."""
series = st.tuples(st.integers(1, 3), st.integers(0, 900), st.integers(0, 2**31))
"""Channels, points beyond the first window, seed."""


def cut(values: Doubles, length: int, hop: int, rule: tuple[float, float]) -> tuple[Any, int]:
    """Return the windows, and how many blocks are doubtful."""
    windows = (values.shape[1] - length) // hop + 1
    out, room = (
        np.full((windows, len(values), length), np.nan, np.float32),
        block_room(len(values), windows, length, hop),
    )
    room[:] = np.nan
    return out, cut_blocks(values, hop, block_size(length, hop), np.array(rule), room, out)


def by_numpy(values: Doubles, length: int, hop: int, rule: tuple[int, float]) -> Any:
    ddof, least = rule
    windows = windows_of(values, length, hop).astype(np.longdouble)
    centred = windows - windows.mean(axis=2, keepdims=True)
    if length <= ddof:
        return centred / least
    return centred / np.maximum(np.sqrt((centred**2).sum(axis=2, keepdims=True) / (length - ddof)), least)


@few
@given(cuts, series, st.sampled_from([0.0, -1e3, 1e9]), st.sampled_from([0, 1]))
def test_windows_are_those_of_two_passes(
    size: tuple[int, int], drawn: tuple[int, int, int], offset: float, ddof: int
) -> None:
    values = made_up(drawn[0], size[0], *drawn[1:]) + offset
    windows, doubtful = cut(values, *size, (ddof, 1e-3))
    assert doubtful == 0
    close = 1e-5 if offset > 1e6 else 1e-6
    np.testing.assert_allclose(windows, by_numpy(values, *size, (ddof, 1e-3)), rtol=close, atol=close)


@pytest.mark.parametrize(("length", "hop"), [(64, 32), (64, 16), (60, 45), (64, 64), (50, 31)])
def test_a_spike_leaves_no_trace_in_windows_without_it(length: int, hop: int) -> None:
    values = made_up(1, length, 2000, 5)
    values[0, 700] = 1e12
    windows = cut(values, length, hop, (0, 1e-9))[0]
    starts = np.arange(len(windows)) * hop
    clean = (starts > 700) | (starts + length <= 700)
    np.testing.assert_allclose(windows[clean], by_numpy(values, length, hop, (0, 1e-9))[clean], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("length", "hop", "layout"),
    [
        (128, 64, (64, 64, 2, 1)),
        (256, 16, (16, 16, 16, 1)),
        (120, 80, (40, 40, 3, 2)),
        (128, 128, (128, 128, 1, 1)),
        (128, 50, (128, 50, 1, 1)),
        (128, 1, (128, 1, 1, 1)),
        (16, 48, (16, 48, 1, 1)),
    ],
)
def test_windows_consist_of_the_largest_blocks_that_they_share(
    length: int, hop: int, layout: tuple[int, int, int, int]
) -> None:
    assert block_layout(length, hop, block_size(length, hop)) == layout


bad = st.sampled_from([np.nan, np.inf, -np.inf, 1.001 * LARGEST, -1e120, 1e300])


@few
@given(cuts, series, bad, st.floats(0, 1), st.sampled_from([1.0, 0.99 * LARGEST]))
def test_what_is_missing_or_too_large_makes_its_block_doubtful(
    size: tuple[int, int], drawn: tuple[int, int, int], value: float, place: float, scale: float
) -> None:
    values = made_up(drawn[0], size[0], *drawn[1:])
    values *= scale / np.abs(values).max()
    length, hop = size
    windows = (values.shape[1] - length) // hop + 1
    start = int(place * (windows - 1)) * hop  # of a window that it lies in
    values[-1, start + int(place * (length - 1))] = value
    assert count_unusable(values) == 1
    assert cut(values, length, hop, (0, 1e-8))[1] > 0


def test_what_can_be_used_is_counted_as_such() -> None:
    values = np.array([[0.0, -LARGEST, LARGEST, 5e-324], [-0.0, 1.0, -1.0, 1e99]])
    assert count_unusable(values) == 0
    values[:, 1] = np.nan, -np.inf
    assert count_unusable(values) == 2
