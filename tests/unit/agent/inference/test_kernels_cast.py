"""Writing into an engine's buffer, and reading from it, against plain numpy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from agent.inference.kernels.cast import read_int8, read_uint8, write_float32, write_int8, write_uint8
from agent.inference.kernels.compiled import Kernel

Doubles = NDArray[np.float64]
finite = st.floats(-1e4, 1e4, allow_nan=False)
series = st.tuples(st.integers(1, 4), st.integers(1, 20)).flatmap(
    lambda shape: hnp.arrays(np.float64, shape, elements=finite)
)
PLAIN = np.array([[0.0], [1.0], [0.0]])
LIMITS = {"int8": (-128, 127), "uint8": (0, 255)}


def statistics(channels: int) -> Doubles:
    return np.stack(
        [np.linspace(-1.0, 2.0, channels), np.linspace(0.5, 3.0, channels), np.linspace(0.0, 0.7, channels)]
    )


def strides(shape: tuple[int, ...], layout: str) -> NDArray[np.int64]:
    return np.array([shape[1], 1] if layout == "NCL" else [1, shape[0]], dtype=np.int64)


def normalised(values: Doubles, layout: str) -> NDArray[np.float32]:
    centre, divisor, offset = statistics(values.shape[0])
    rows = ((values - centre[:, None]) / divisor[:, None] + offset[:, None]).astype(np.float32)
    return np.asarray((rows if layout == "NCL" else rows.T).reshape(-1), dtype=np.float32)


@given(series, st.sampled_from(["NCL", "NLC"]))
def test_floats_are_normalised_and_laid_out(values: Doubles, layout: str) -> None:
    out = np.full(values.size, np.nan, dtype=np.float32)
    write_float32(values, statistics(values.shape[0]), strides(values.shape, layout), out)
    np.testing.assert_array_equal(out, normalised(values, layout))


@given(series, st.sampled_from(["NCL", "NLC"]), st.sampled_from([0.02, 0.1, 1.0]), st.integers(-5, 5))
def test_int8_rounds_half_to_even_and_saturates(values: Doubles, layout: str, scale: float, zero_point: int) -> None:
    out = np.zeros(values.size, dtype=np.int8)
    write_int8(values, statistics(values.shape[0]), strides(values.shape, layout), np.array([scale, zero_point]), out)
    levels = np.rint(normalised(values, layout) / np.float32(scale)) + zero_point
    np.testing.assert_array_equal(out, np.clip(levels, *LIMITS["int8"]).astype(np.int8))


@given(series, st.sampled_from([0.02, 0.1, 1.0]), st.integers(0, 255))
def test_uint8_rounds_half_to_even_and_saturates(values: Doubles, scale: float, zero_point: int) -> None:
    out = np.zeros(values.size, dtype=np.uint8)
    write_uint8(values, statistics(values.shape[0]), strides(values.shape, "NCL"), np.array([scale, zero_point]), out)
    levels = np.rint(normalised(values, "NCL") / np.float32(scale)) + zero_point
    np.testing.assert_array_equal(out, np.clip(levels, *LIMITS["uint8"]).astype(np.uint8))


def test_halves_go_to_the_even_neighbour() -> None:
    values, out = np.array([[0.5, 1.5, 2.5, -0.5, -1.5]]), np.zeros(5, dtype=np.int8)
    write_int8(values, PLAIN, np.array([5, 1]), np.array([1.0, 0.0]), out)
    assert out.tolist() == [0, 2, 2, 0, -2]


def test_what_is_not_a_number_becomes_the_zero_point() -> None:
    out = np.zeros(3, dtype=np.int8)
    write_int8(np.array([[np.nan, np.inf, -np.inf]]), PLAIN, np.array([3, 1]), np.array([1.0, 7.0]), out)
    assert out.tolist() == [7, 127, -128]


@pytest.mark.parametrize(("dtype", "read"), [("int8", read_int8), ("uint8", read_uint8)])
def test_every_level_is_read_back(dtype: str, read: Kernel[..., None]) -> None:
    low, high = LIMITS[dtype]
    raw = np.arange(low, high + 1).astype(dtype)
    out = np.zeros(raw.size, dtype=np.float32)
    read(raw, 0.037, 11, out)
    expected = (raw.astype(np.int64) - 11).astype(np.float32) * np.float32(0.037)
    np.testing.assert_array_equal(out, expected)
