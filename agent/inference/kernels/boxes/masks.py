"""Scores per pixel -> a map of class numbers; the map at another size; how often each class occurs.

Rules: of equal scores the lower class is taken, NaN counts as the lowest score, and a pixel without any score above
-infinity is of class 0.
"""

import numpy as np
from numpy.typing import NDArray

from agent.inference.kernels.compiled import kernel

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]
Ints = NDArray[np.int32]
Indices = NDArray[np.int64]


@kernel("void(float32[:, ::1], float32[::1], int32[::1], uint8[::1])")
def argmax_planes(scores: Floats, best: Floats, found: Ints, out: Bytes) -> None:
    """Each pixel's class, planes of classes one behind the other.

    Args:
        scores: Shape (classes, pixels).
        best: Room for as many pixels as stay in the first cache.
        found: Room of the same size.
        out: Result, shape (pixels,).
    """
    pixels = scores.shape[1]
    for start in range(0, pixels, best.shape[0]):
        stop = min(start + best.shape[0], pixels)
        size = stop - start
        for index in range(size):
            best[index] = -np.inf
            found[index] = 0
        for number in range(scores.shape[0]):
            plane, candidate = scores[number, start:stop], np.int32(number)
            for index in range(size):
                better = plane[index] > best[index]
                best[index] = plane[index] if better else best[index]
                found[index] = candidate if better else found[index]
        block = out[start:stop]
        for index in range(size):
            block[index] = found[index]


@kernel("void(float32[:, ::1], uint8[::1])")
def argmax_pixels(scores: Floats, out: Bytes) -> None:
    """Each pixel's class, a pixel's scores side by side: `scores` of shape (pixels, classes)."""
    for pixel in range(scores.shape[0]):
        largest, found = np.float32(-np.inf), 0
        for number in range(scores.shape[1]):
            if scores[pixel, number] > largest:
                largest, found = scores[pixel, number], number
        out[pixel] = found


@kernel("void(uint8[:, ::1], int64[::1], int64[::1], uint8[:, ::1])")
def pick_nearest(mask: Bytes, rows: Indices, columns: Indices, out: Bytes) -> None:
    """Fill `out` from `mask`: pixel (row, column) is that at (rows[row], columns[column])."""
    for row in range(out.shape[0]):
        source, target = mask[rows[row]], out[row]
        for column in range(out.shape[1]):
            target[column] = source[columns[column]]


@kernel("void(uint8[::1], int64[:, ::1], int64[::1])")
def count_classes(mask: Bytes, spare: Indices, counts: Indices) -> None:
    """Count each class of a map.

    Args:
        mask: Flat.
        spare: Room, shape (4, 256): neighbours are counted apart, since they are mostly alike and would wait for each
            other.
        counts: Result, shape (256,).
    """
    for lane in range(4):
        for number in range(256):
            spare[lane, number] = 0
    whole = mask.shape[0] // 4
    for step in range(whole):
        spare[0, mask[4 * step]] += 1
        spare[1, mask[4 * step + 1]] += 1
        spare[2, mask[4 * step + 2]] += 1
        spare[3, mask[4 * step + 3]] += 1
    for pixel in range(4 * whole, mask.shape[0]):
        spare[0, mask[pixel]] += 1
    for number in range(256):
        counts[number] = spare[0, number] + spare[1, number] + spare[2, number] + spare[3, number]
