"""The last step before an engine: normalise, cast or quantise, and lay out, in one pass into the engine's buffer.

Values are divided in float64 and rounded to float32 before they are quantised, as an engine's own quantisation would
see them: q = saturate(round_half_even(float32(x) / scale) + zero_point).
"""

import numpy as np
from numpy.typing import NDArray

from agent.inference.kernels.compiled import inner, kernel

Doubles = NDArray[np.float64]
Floats = NDArray[np.float32]
Indices = NDArray[np.int64]


@inner
def quantised(value: np.float32, scale: np.float32, zero_point: float, low: float, high: float) -> float:
    """Round half to even, then saturate; what is not a number becomes the zero point."""
    if np.isnan(value):
        return zero_point
    level: float = np.rint(value / scale) + zero_point
    return min(max(level, low), high)


@kernel("void(float64[:, ::1], float64[:, ::1], int64[::1], float32[::1])")
def write_float32(values: Doubles, normal: Doubles, strides: Indices, out: Floats) -> None:
    """Put (values - centre) / divisor + offset into `out`.

    Args:
        values: Shape (channels, length).
        normal: Centre, divisor (not 0) and offset of each channel, shape (3, channels).
        strides: Elements of `out` from one channel to the next and from one point to the next, shape (2,).
        out: The engine's input, flat.
    """
    for channel in range(values.shape[0]):
        for point in range(values.shape[1]):
            value = (values[channel, point] - normal[0, channel]) / normal[1, channel] + normal[2, channel]
            out[channel * strides[0] + point * strides[1]] = value


@kernel("void(float64[:, ::1], float64[:, ::1], int64[::1], float64[::1], int8[::1])")
def write_int8(values: Doubles, normal: Doubles, strides: Indices, affine: Doubles, out: NDArray[np.int8]) -> None:
    """As `write_float32`, then quantise to int8; `affine` holds scale and zero point, shape (2,)."""
    step = np.float32(affine[0])
    for channel in range(values.shape[0]):
        for point in range(values.shape[1]):
            wide = (values[channel, point] - normal[0, channel]) / normal[1, channel] + normal[2, channel]
            level = quantised(np.float32(wide), step, affine[1], -128.0, 127.0)
            out[channel * strides[0] + point * strides[1]] = np.int8(level)


@kernel("void(float64[:, ::1], float64[:, ::1], int64[::1], float64[::1], uint8[::1])")
def write_uint8(values: Doubles, normal: Doubles, strides: Indices, affine: Doubles, out: NDArray[np.uint8]) -> None:
    """As `write_float32`, then quantise to uint8; `affine` holds scale and zero point, shape (2,)."""
    step = np.float32(affine[0])
    for channel in range(values.shape[0]):
        for point in range(values.shape[1]):
            wide = (values[channel, point] - normal[0, channel]) / normal[1, channel] + normal[2, channel]
            level = quantised(np.float32(wide), step, affine[1], 0.0, 255.0)
            out[channel * strides[0] + point * strides[1]] = np.uint8(level)


@kernel("void(int8[::1], float64, int64, float32[::1])")
def read_int8(raw: NDArray[np.int8], scale: float, zero_point: int, out: Floats) -> None:
    """De-quantise: (raw - zero_point) * scale, as float32."""
    step = np.float32(scale)
    for index in range(raw.shape[0]):
        out[index] = np.float32(np.int64(raw[index]) - zero_point) * step


@kernel("void(uint8[::1], float64, int64, float32[::1])")
def read_uint8(raw: NDArray[np.uint8], scale: float, zero_point: int, out: Floats) -> None:
    """De-quantise: (raw - zero_point) * scale, as float32."""
    step = np.float32(scale)
    for index in range(raw.shape[0]):
        out[index] = np.float32(np.int64(raw[index]) - zero_point) * step
