"""Overlapping windows that are made of equal blocks: each block is summed up once, and windows share its sums.

Half a window's length from one to the next makes each window two blocks; windows that share no blocks are one block
each. Sum, and squares about the block's own mean, of a window's blocks are put together by the rule of Chan, Golub and
LeVeque (1979), so that no large square is ever taken off another, and a spike leaves no trace in windows without it.
Windows are taken some at a time: what was read to be summed is still near when it is read to be written.
"""

import math

import numpy as np
from numpy.typing import NDArray

from agent.inference.kernels.compiled import inner, kernel
from agent.inference.kernels.series import LARGEST

Doubles = NDArray[np.float64]
Singles = NDArray[np.float32]
Windows = NDArray[np.float32]
Layout = tuple[int, int, int, int]

LEAST_BLOCK = 8
"""Points. Smaller blocks take longer than what they save."""
AT_ONCE = 64
"""Windows. With six channels of 128 points 400 KB are read and written: a second-level cache holds them."""
DOUBTFUL = LARGEST / 10
EIGHT = 8
U = np.uint64
"""What rows are indexed by where a vector of a processor shall take several points: it cannot be negative."""


def block_size(length: int, hop: int) -> int:
    """Return the points of the largest blocks of which windows consist and that they share; `length` where none are."""
    size = math.gcd(length, hop)
    return size if size >= LEAST_BLOCK else length


def block_room(channels: int, windows: int, length: int, hop: int) -> Doubles:
    """Return the room that `cut_blocks` needs."""
    _, _, blocks, apart = block_layout(length, hop, block_size(length, hop))
    return np.empty((channels, 2, (windows - 1) * apart + blocks + AT_ONCE))


@inner
def block_layout(length: int, hop: int, size: int) -> tuple[int, int, int, int]:
    """Return points of a block, and from one's beginning to the next one's; blocks of a window, and likewise."""
    if size == length:
        return size, hop, 1, 1
    return size, size, length // size, hop // size


@inner
def sums_of(row: Doubles, pivot: float) -> tuple[float, float]:
    """Return the sum, and that of squared distances from `pivot`: each in eight parts, and the rest."""
    a = b = c = d = e = f = g = h = rest = 0.0
    i = j = k = l = m = n = o = p = squares = 0.0  # noqa: E741
    whole = row.shape[0] - row.shape[0] % EIGHT
    for at in range(0, whole, EIGHT):
        a += row[at]
        b += row[at + 1]
        c += row[at + 2]
        d += row[at + 3]
        e += row[at + 4]
        f += row[at + 5]
        g += row[at + 6]
        h += row[at + 7]
        i += (row[at] - pivot) * (row[at] - pivot)
        j += (row[at + 1] - pivot) * (row[at + 1] - pivot)
        k += (row[at + 2] - pivot) * (row[at + 2] - pivot)
        l += (row[at + 3] - pivot) * (row[at + 3] - pivot)  # noqa: E741
        m += (row[at + 4] - pivot) * (row[at + 4] - pivot)
        n += (row[at + 5] - pivot) * (row[at + 5] - pivot)
        o += (row[at + 6] - pivot) * (row[at + 6] - pivot)
        p += (row[at + 7] - pivot) * (row[at + 7] - pivot)
    for at in range(whole, row.shape[0]):
        rest += row[at]
        squares += (row[at] - pivot) * (row[at] - pivot)
    # Added up in another order, the eight parts are taken two at a time by LLVM, and not four.
    total = rest + (a + e) + (b + f) + (c + g) + (d + h)
    return total, squares + (i + m) + (j + n) + (k + o) + (l + p)


@inner
def sum_blocks(row: Doubles, layout: Layout, first: int, stop: int, room: Doubles) -> int:
    """Put the sum, and the squares about the mean, of each block from `first` to `stop` into `room`.

    Squares are taken about the block's first point and brought to its mean. That point is one of them: n points lose a
    factor of n + 1 at most, of sixteen digits.

    Returns:
        How many blocks may hold NaN, an infinity, or a number beyond `LARGEST`: with such a one a block's sum is beyond
        a tenth of that, or the number lies nine tenths of it away from the mean.
    """
    size, step, doubtful = layout[0], layout[1], 0
    share = 1.0 / size
    for block in range(first, stop):
        part = row[block * step : block * step + size]
        pivot = part[0]
        total, squares = sums_of(part, pivot)
        off = total * share - pivot
        squares -= off * off * size
        if not (abs(total) <= DOUBTFUL and squares <= DOUBTFUL * DOUBTFUL):
            doubtful += 1
        room[0, U(block)], room[1, U(block)] = total, squares if squares > 0.0 else 0.0
    return doubtful


@inner
def put_normals(room: Doubles, layout: Layout, rule: Doubles, first: int, count: int) -> None:
    """Put the mean and 1 / max(deviation, epsilon) of `count` windows behind the blocks, of which `first` begins them.

    Loops over windows are the inner ones: a processor takes several windows at the same time.
    """
    size, _, blocks, apart = layout
    divided, behind = size * blocks - rule[0], room.shape[1] - AT_ONCE
    share, least = 1.0 / divided if divided > 0 else 0.0, rule[1]
    for window in range(count):
        room[0, U(behind + window)] = room[1, U(behind + window)] = 0.0
    for block in range(blocks):
        for window in range(count):
            room[0, U(behind + window)] += room[0, U(first + window * apart + block)]
    for window in range(count):
        room[0, U(behind + window)] /= size * blocks
    for block in range(blocks):
        for window in range(count):
            place = U(first + window * apart + block)
            off = room[0, place] / size - room[0, U(behind + window)]
            room[1, U(behind + window)] += room[1, place] + off * off * size
    for window in range(count):
        deviation = np.sqrt(room[1, U(behind + window)] * share)
        room[1, U(behind + window)] = 1.0 / (deviation if deviation > least else least)


@inner
def put_window(row: Doubles, mean: float, factor: float, out: Singles) -> None:
    for point in range(out.shape[0]):
        out[point] = np.float32((row[point] - mean) * factor)


@inner
def unusable_of(row: Doubles) -> int:
    bad = 0
    for point in range(row.shape[0]):
        bad += 0 if abs(row[U(point)]) <= LARGEST else 1
    return bad


@kernel(
    "int64(float64[:, ::1], int64, int64, float64[::1], float64[:, :, ::1], float32[:, :, ::1])",
    packed=True,
)
def cut_blocks(values: Doubles, hop: int, size: int, rule: Doubles, room: Doubles, out: Windows) -> int:
    """Write each window's (value - mean) / max(deviation, epsilon).

    Args:
        values: Shape (channels, points). They need not have been looked at: see what is returned.
        hop: Points from one window's beginning to the next one's.
        size: Points of a block, as `block_size` gives it.
        rule: ddof and least divisor, shape (2,).
        room: As `block_room` gives it.
        out: Result, shape (windows, channels, length).
    Returns:
        0 where every number is finite and at most `LARGEST` (those between windows that do not touch are not looked
        at). Else `count_unusable` says whether one is not, and the result may be worth nothing.
    """
    length, done, doubtful = out.shape[2], 0, 0
    layout = block_layout(length, hop, size)
    behind = room.shape[2] - AT_ONCE
    for first in range(0, out.shape[0], AT_ONCE):
        stop = min(first + AT_ONCE, out.shape[0])
        needed = (stop - 1) * layout[3] + layout[2]
        for channel in range(out.shape[1]):
            doubtful += sum_blocks(values[channel], layout, done, needed, room[channel])
            put_normals(room[channel], layout, rule, first * layout[3], stop - first)
        done = needed
        for window in range(first, stop):
            for channel in range(out.shape[1]):
                row, place = values[channel, window * hop : window * hop + length], behind + window - first
                put_window(row, room[channel, 0, place], room[channel, 1, place], out[window, channel])
    for channel in range(out.shape[1]):
        doubtful += unusable_of(values[channel, (out.shape[0] - 1) * hop + length :])
    return doubtful


@kernel("int64(float64[:, ::1])")
def count_unusable(values: Doubles) -> int:
    """Return how many are NaN, infinite, or beyond `LARGEST`."""
    bad = 0
    for channel in range(values.shape[0]):
        bad += unusable_of(values[channel])
    return bad
