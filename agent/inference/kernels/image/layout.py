"""The last pass over a picture: planes of 8 bits into the engine's buffer, normalised or quantised, and laid out.

A pixel has 256 values only. Where a straight line gives what each becomes, the line is computed: that vectorises, and
takes a quarter of the time of looking it up. Else the pass goes through a table, whose bits it only copies: float16
travels as uint16, int8 as uint8. `levels.py` says which.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.inference.kernels.compiled import inner, kernel

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]
Indices = NDArray[np.int64]
Bounds = NDArray[np.int32]


@kernel("void(uint8[:, :, ::1], int64[::1], float32[:, ::1], int64[::1], float32[::1])")
def lay_out_floats(planes: Bytes, order: Indices, lines: Floats, place: Indices, out: Floats) -> None:
    """Write pixel * factor + offset, in float32.

    Args:
        planes: Shape (planes, rows, columns).
        order: Which plane each channel of the model takes, shape (channels,); 3 channels where they lie side by side.
        lines: Factors, then offsets, of each channel, shape (2, channels).
        place: First element of `out`, then elements from one channel, row and column to the next, shape (4,).
        out: The engine's input, flat.
    """
    columns = np.uintp(planes.shape[2])
    for row in range(np.uintp(planes.shape[1])):
        start = np.uintp(place[0]) + row * np.uintp(place[2])
        if place[3] == 1:
            for channel in range(np.uintp(order.shape[0])):
                plane, at = np.uintp(order[channel]), start + channel * np.uintp(place[1])
                for column in range(columns):
                    value = np.float32(planes[plane, row, column])
                    out[at + column] = value * lines[0, channel] + lines[1, channel]
        else:
            first, second, third = np.uintp(order[0]), np.uintp(order[1]), np.uintp(order[2])
            for column in range(columns):
                at = start + column * np.uintp(3)
                out[at] = np.float32(planes[first, row, column]) * lines[0, 0] + lines[1, 0]
                out[at + np.uintp(1)] = np.float32(planes[second, row, column]) * lines[0, 1] + lines[1, 1]
                out[at + np.uintp(2)] = np.float32(planes[third, row, column]) * lines[0, 2] + lines[1, 2]


@inner
def level(pixel: np.uint8, factor: np.float32, offset: np.float32, low: np.int32, high: np.int32) -> np.uint8:
    """Round half to even, then saturate; in whole numbers, which takes half the time of comparing floats."""
    rounded = np.int32(np.rint(np.float32(pixel) * factor + offset))
    return np.uint8(max(min(rounded, high), low))


@kernel("void(uint8[:, :, ::1], int64[::1], float32[:, ::1], int32[::1], int64[::1], uint8[::1])")
def lay_out_levels(planes: Bytes, order: Indices, lines: Floats, bounds: Bounds, place: Indices, out: Bytes) -> None:
    """As `lay_out_floats`, rounded and saturated to `bounds` (lowest and highest level), as bits of 8-bit numbers."""
    columns, low, high = np.uintp(planes.shape[2]), bounds[0], bounds[1]
    for row in range(np.uintp(planes.shape[1])):
        start = np.uintp(place[0]) + row * np.uintp(place[2])
        if place[3] == 1:
            for channel in range(np.uintp(order.shape[0])):
                plane, at = np.uintp(order[channel]), start + channel * np.uintp(place[1])
                for column in range(columns):
                    pixel = planes[plane, row, column]
                    out[at + column] = level(pixel, lines[0, channel], lines[1, channel], low, high)
        else:
            first, second, third = np.uintp(order[0]), np.uintp(order[1]), np.uintp(order[2])
            for column in range(columns):
                at = start + column * np.uintp(3)
                out[at] = level(planes[first, row, column], lines[0, 0], lines[1, 0], low, high)
                out[at + np.uintp(1)] = level(planes[second, row, column], lines[0, 1], lines[1, 1], low, high)
                out[at + np.uintp(2)] = level(planes[third, row, column], lines[0, 2], lines[1, 2], low, high)


@inner
def look_up(planes: Bytes, order: Indices, table: NDArray[Any], place: Indices, out: NDArray[Any]) -> None:
    """Do the work of `lay_out_16`, for any width."""
    channel_step, row_step, step = np.uintp(place[1]), np.uintp(place[2]), np.uintp(place[3])
    for row in range(np.uintp(planes.shape[1])):
        for channel in range(np.uintp(order.shape[0])):
            plane = np.uintp(order[channel])
            at = np.uintp(place[0]) + channel * channel_step + row * row_step
            for column in range(np.uintp(planes.shape[2])):
                out[at + column * step] = table[channel, planes[plane, row, column]]


@kernel("void(uint8[:, :, ::1], int64[::1], uint16[:, ::1], int64[::1], uint16[::1])")
def lay_out_16(
    planes: Bytes, order: Indices, table: NDArray[np.uint16], place: Indices, out: NDArray[np.uint16]
) -> None:
    """As `lay_out_floats`, but write every pixel's entry of the table, shape (channels, 256)."""
    look_up(planes, order, table, place, out)


@kernel("void(uint8[:, :, ::1], int64[::1], uint8[:, ::1], int64[::1], uint8[::1])")
def lay_out_8(planes: Bytes, order: Indices, table: Bytes, place: Indices, out: Bytes) -> None:
    """As `lay_out_16`, for elements of 8 bits."""
    look_up(planes, order, table, place, out)
