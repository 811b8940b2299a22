"""Resizing by weighted sums of any number of neighbours: areas, and the widened triangle that is called antialias.

Rows are summed first, because whole rows vectorise, then columns. Sums keep 16 bits between the two and are rounded
once, at the end. Weights are 14-bit integers that sum to exactly 1: an even picture stays even.
"""

import numpy as np
from numpy.typing import NDArray

from agent.inference.kernels.compiled import inner, kernel

Bytes = NDArray[np.uint8]
Words = NDArray[np.uint32]
Shorts = NDArray[np.uint16]
Indices = NDArray[np.int64]
Weights = NDArray[np.int32]

WEIGHT_BITS = 14
ONE = 1 << WEIGHT_BITS
"""A weight of 1."""

KEPT_BITS = 16 - 8
"""Bits behind the point that a sum of rows keeps."""


@inner
def add_row(pixels: Bytes, start: np.uintp, weight: int, first: bool, sums: Words) -> None:
    """Add a row of the source, times its weight; the first one replaces what was there."""
    factor = np.uint32(weight)
    if first:
        for index in range(np.uintp(sums.shape[0])):
            sums[index] = np.uint32(pixels[start + index]) * factor
    else:
        for index in range(np.uintp(sums.shape[0])):
            sums[index] += np.uint32(pixels[start + index]) * factor


@inner
def keep_sums(sums: Words, line: Shorts) -> None:
    """Round the sums of rows to 16 bits."""
    half, drop = np.uint32(1 << (WEIGHT_BITS - KEPT_BITS - 1)), np.uint32(WEIGHT_BITS - KEPT_BITS)
    for index in range(np.uintp(sums.shape[0])):
        line[index] = np.uint16((sums[index] + half) >> drop)


@inner
def sum_columns(line: Shorts, channels: int, taps: Indices, weights: Weights, row: int, out: Bytes) -> None:
    """Sum columns, all planes in one go, and round half up to 8 bits."""
    half, drop = np.uint32(1 << (WEIGHT_BITS + KEPT_BITS - 1)), np.uint32(WEIGHT_BITS + KEPT_BITS)
    step, at, planes = np.uintp(channels), np.uintp(row), out.shape[0]
    for column in range(np.uintp(out.shape[2])):
        place = np.uintp(taps[0, column])
        red, green, blue = half, half, half
        for tap in range(np.uintp(taps[1, column])):
            weight = np.uint32(weights[column, tap])
            red += np.uint32(line[place]) * weight
            if planes == 3:
                green += np.uint32(line[place + np.uintp(1)]) * weight
                blue += np.uint32(line[place + np.uintp(2)]) * weight
            place += step
        out[0, at, column] = np.uint8(red >> drop)
        if planes == 3:
            out[1, at, column] = np.uint8(green >> drop)
            out[2, at, column] = np.uint8(blue >> drop)


@kernel(
    "void(uint8[::1], int64[::1], int64[:, ::1], int32[:, ::1], int64[:, ::1], int32[:, ::1], uint32[::1], uint16[::1],"
    " uint8[:, :, ::1])"
)
def resize_weighted(
    pixels: Bytes,
    steps: Indices,
    across: Indices,
    across_weights: Weights,
    down: Indices,
    down_weights: Weights,
    sums: Words,
    line: Shorts,
    out: Bytes,
) -> None:
    """Resize an interleaved picture into planes.

    Args:
        pixels: The source, flat.
        steps: Bytes from one row to the next, channels of the source (1, 3 or 4), and the byte of a row at which the
            columns begin that are needed, shape (3,).
        across: First tap, in elements of `line`, and number of taps of each new column, shape (2, new columns).
        across_weights: Their weights in 14 bits, shape (new columns, most taps).
        down: First row and number of rows of each new row, shape (2, new rows).
        down_weights: Their weights, shape (new rows, most taps).
        sums: Room for sums of rows, shape (needed columns * channels,).
        line: Room for the same, rounded.
        out: Result, shape (planes, new rows, new columns); 1 plane for 1 channel, else 3.
    """
    for row in range(out.shape[1]):
        for tap in range(down[1, row]):
            start = np.uintp((down[0, row] + tap) * steps[0] + steps[2])
            add_row(pixels, start, down_weights[row, tap], tap == 0, sums)
        keep_sums(sums, line)
        sum_columns(line, steps[1], across, across_weights, row, out)
