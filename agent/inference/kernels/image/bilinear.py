"""Bilinear resizing, bit for bit that of `cv2.resize` with INTER_LINEAR on x86: 11-bit weights, half-pixel centres.

A row of the source is brought to the new width once and kept for the two new rows that need it. Eight bytes are read at
a time: two neighbours cost one load. Indices are unsigned: numba would let negative ones count from the
end, and that keeps LLVM from vectorising.
"""

import numpy as np
from numpy.typing import NDArray

from agent.inference.kernels.compiled import inner, kernel

Bytes = NDArray[np.uint8]
Words = NDArray[np.uint64]
Indices = NDArray[np.int64]
Shorts = NDArray[np.uint16]
Weights = NDArray[np.int32]


@inner
def four_bytes(pixels: Bytes, at: np.uintp) -> np.uint64:
    """Return the bytes from `at` as one little-endian number; LLVM makes one load of it."""
    low = np.uint64(pixels[at]) | (np.uint64(pixels[at + np.uintp(1)]) << np.uint64(8))
    high = np.uint64(pixels[at + np.uintp(2)]) | (np.uint64(pixels[at + np.uintp(3)]) << np.uint64(8))
    return np.uint64(low | (high << np.uint64(16)))


@inner
def gather_grey(pixels: Bytes, start: np.uintp, across: Weights, pairs: Words) -> None:
    """Fetch the left and the right neighbour of each new column of a picture of one channel."""
    for column in range(np.uintp(pairs.shape[0])):
        at = start + np.uintp(across[0, column])
        pairs[column] = np.uint64(pixels[at]) | (np.uint64(pixels[at + np.uintp(1)]) << np.uint64(8))


@inner
def gather_pixels(pixels: Bytes, start: np.uintp, steps: Indices, across: Weights, pairs: Words) -> None:
    """Fetch both neighbours of each new column of a picture of three or four channels: eight bytes in one go.

    Where those would reach beyond the row, which can be the last one, the right pixel is fetched from its left side on.
    """
    whole, columns = np.uintp(steps[2]), np.uintp(pairs.shape[0])
    for column in range(whole):
        at = start + np.uintp(across[0, column])
        pairs[column] = four_bytes(pixels, at) | (four_bytes(pixels, at + np.uintp(4)) << np.uint64(32))
    for column in range(whole, columns):
        at = start + np.uintp(across[0, column])
        pairs[column] = four_bytes(pixels, at) | (four_bytes(pixels, at + np.uintp(2)) << np.uint64(16))


@inner
def weighed(left: np.uint32, right: np.uint32, left_weight: np.int32, right_weight: np.int32) -> np.uint16:
    """Weigh the lowest bytes of both; the upper 15 of 19 bits are kept, as OpenCV does.

    Each product is cut to 32 bits: numba multiplies in 64, which halves what a vector holds.
    """
    over = np.int32(np.int32(left & np.uint32(255)) * left_weight)
    under = np.int32(np.int32(right & np.uint32(255)) * right_weight)
    return np.uint16(np.int32(over + under) >> np.int32(4))


@inner
def blend_columns(pairs: Words, across: Weights, channels: int, slot: np.uintp, kept: Shorts) -> None:
    """Weigh both neighbours of each new column, in every channel."""
    first, second, third, byte = np.uintp(0), np.uintp(1), np.uintp(2), np.uint32(8)
    pixel = np.uint64(8 * channels)
    if kept.shape[1] == 1:
        for column in range(np.uintp(pairs.shape[0])):
            left, right = np.uint32(pairs[column]), np.uint32(pairs[column] >> pixel)
            kept[slot, first, column] = weighed(left, right, across[1, column], across[2, column])
    else:
        for column in range(np.uintp(pairs.shape[0])):
            left, right = np.uint32(pairs[column]), np.uint32(pairs[column] >> pixel)
            kept[slot, first, column] = weighed(left, right, across[1, column], across[2, column])
            left, right = np.uint32(left >> byte), np.uint32(right >> byte)
            kept[slot, second, column] = weighed(left, right, across[1, column], across[2, column])
            left, right = np.uint32(left >> byte), np.uint32(right >> byte)
            kept[slot, third, column] = weighed(left, right, across[1, column], across[2, column])


@inner
def bring_row(pixels: Bytes, steps: Indices, row: int, across: Weights, pairs: Words, slot: int, kept: Shorts) -> None:
    """Bring one row of the source to the new width, into `kept[slot]`."""
    start = np.uintp(row * steps[0])
    if steps[1] == 1:
        gather_grey(pixels, start, across, pairs)
    else:
        gather_pixels(pixels, start, steps, across, pairs)
    blend_columns(pairs, across, steps[1], np.uintp(slot), kept)


@inner
def blend_rows(kept: Shorts, slot: int, shares: Shorts, row: int, out: Bytes) -> None:
    """Weigh the two kept rows, of which `slot` is the upper one, and round half up."""
    upper, lower, at = np.uintp(slot), np.uintp(1 - slot), np.uintp(row)
    over, under = np.uint32(shares[0, row]), np.uint32(shares[1, row])
    for plane in range(np.uintp(out.shape[0])):
        for column in range(np.uintp(out.shape[2])):
            above = (np.uint32(kept[upper, plane, column]) * over) >> np.uint32(16)
            below = (np.uint32(kept[lower, plane, column]) * under) >> np.uint32(16)
            out[plane, at, column] = np.uint8((above + below + np.uint32(2)) >> np.uint32(2))


@kernel(
    "void(uint8[::1], int64[::1], int32[:, ::1], int64[:, ::1], uint16[:, ::1], uint64[::1], uint16[:, :, ::1],"
    " uint8[:, :, ::1])"
)
def resize_bilinear(
    pixels: Bytes,
    steps: Indices,
    across: Weights,
    down: Indices,
    shares: Shorts,
    pairs: Words,
    kept: Shorts,
    out: Bytes,
) -> None:
    """Resize an interleaved picture of at least two columns into planes.

    Args:
        pixels: The source, flat.
        steps: Bytes from one row to the next, channels of the source (1, 3 or 4), and how many of the new columns have
            eight bytes of the row from their left neighbour on, shape (3,).
        across: Byte of the left neighbour in its row, its weight, the right one's, shape (3, new columns).
        down: Upper row and lower row, shape (2, new rows).
        shares: Their weights, shape (2, new rows).
        pairs: Room for the neighbours of one row, shape (new columns,).
        kept: Room for two rows of the source at the new width, shape (2, planes, new columns).
        out: Result, shape (planes, new rows, new columns); 1 plane for 1 channel, else 3.
    """
    slot, upper, lower = 0, -1, -1
    for row in range(out.shape[1]):
        if down[0, row] == lower:
            slot, upper, lower = 1 - slot, lower, -1
        if down[0, row] != upper:
            upper = down[0, row]
            bring_row(pixels, steps, upper, across, pairs, slot, kept)
        if down[1, row] != lower:
            lower = down[1, row]
            bring_row(pixels, steps, lower, across, pairs, 1 - slot, kept)
        blend_rows(kept, slot, shares, row, out)
