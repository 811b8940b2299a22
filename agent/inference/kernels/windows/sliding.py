"""Overlapping windows of a long series, each brought to its own scale.

Two steps: the numbers of every window, then one pass that reads the series and writes the windows. Windows that overlap
much share their sums: the series is taken in blocks of a window's length, and a window is the end of one block and the
beginning of the next (van Herk's way to running maxima, IEEE Trans. PAMI 14, 1992, here for sums as well). Sums of
squares grow by the rule of Youngs and Cramer (Technometrics 13, 1971) and are put together by the one of Chan, Golub
and LeVeque (1979), so that no large square is ever taken off another. Windows that consist of equal blocks, or overlap
little, are cut faster by `blocks.py`.
"""

import numpy as np
from numpy.typing import NDArray

from agent.inference.kernels.compiled import inner, kernel

Doubles = NDArray[np.float64]
Windows = NDArray[np.float32]

SHARED = 8
"""Windows share their sums where a point lies in more of them than this: a sum that is shared costs about as much."""


@inner
def grown(squares: float, total: float, value: float, count: int, share: float) -> float:
    """Return the sum of squares about the mean after `value`, the last of `count` whose sum is `total`.

    `share` is 1 / (count * (count - 1)), and 0 for the first one.
    """
    apart = count * value - total
    return squares + apart * apart * share


@inner
def put_shares(shares: Doubles) -> None:
    shares[0] = 0.0
    for place in range(1, shares.shape[0]):
        shares[place] = 1.0 / (float(place) * (place + 1))


@inner
def sum_block(row: Doubles, ends: Doubles) -> None:
    """Put sum, and squares about the mean, of the last points of a block into `ends`, for each number of them."""
    length = row.shape[0]
    total = squares = 0.0
    for count in range(1, length + 1):
        value = row[length - count]
        total += value
        squares = grown(squares, total, value, count, ends[2, count - 1])
        ends[0, length - count] = total
        ends[1, length - count] = squares


@inner
def put_deviation(total: float, squares: float, length: int, rule: Doubles, normal: Doubles) -> None:
    """Mean and max(deviation, epsilon); `rule` holds ddof and epsilon."""
    divided = length - rule[0]
    deviation = np.sqrt(squares / divided) if divided > 0 else 0.0
    normal[0] = total / length
    normal[1] = deviation if deviation > rule[1] else rule[1]
    normal[2] = 0.0


@inner
def put_range(least: float, most: float, rule: Doubles, normal: Doubles) -> None:
    """`rule` holds what the least value becomes, what the largest one becomes, and the least range."""
    span = most - least if most - least > rule[2] else rule[2]
    normal[0] = least
    normal[1] = span / (rule[1] - rule[0])
    normal[2] = rule[0]


@kernel("void(float64[:, ::1], int64, int64, float64[::1], float64[:, ::1], float64[:, :, ::1])")
def sliding_deviations(values: Doubles, length: int, hop: int, rule: Doubles, ends: Doubles, normal: Doubles) -> None:
    """Mean and divisor of each window.

    Args:
        values: Shape (channels, points), finite.
        length: Points of a window.
        hop: Points from one window's beginning to the next one's.
        rule: ddof and least divisor, shape (2,).
        ends: Room, shape (3, length).
        normal: Result, shape (windows, channels, 3); it says how many windows there are.
    """
    put_shares(ends[2])
    for channel in range(values.shape[0]):
        block, count, total, squares = -1, 0, 0.0, 0.0
        for window in range(normal.shape[0]):
            start = window * hop
            if start // length != block:
                block, count, total, squares = start // length, 0, 0.0, 0.0
                sum_block(values[channel, block * length : block * length + length], ends)
            while count < start - block * length:
                value = values[channel, block * length + length + count]
                count += 1
                total += value
                squares = grown(squares, total, value, count, ends[2, count - 1])
            rest, both = ends[0, count], ends[1, count]
            if count > 0:
                apart = rest / (length - count) - total / count
                both += squares + apart * apart * (float(count) * (length - count) / length)
            put_deviation(rest + total, both, length, rule, normal[window, channel])


@inner
def bound_block(row: Doubles, ends: Doubles) -> None:
    """Put the least and the largest of the last points of a block into `ends`, for each number of them."""
    least = most = row[row.shape[0] - 1]
    for place in range(row.shape[0] - 1, -1, -1):
        value = row[place]
        least = value if value < least else least
        most = value if value > most else most
        ends[0, place], ends[1, place] = least, most


@kernel("void(float64[:, ::1], int64, int64, float64[::1], float64[:, ::1], float64[:, :, ::1])")
def sliding_ranges(values: Doubles, length: int, hop: int, rule: Doubles, ends: Doubles, normal: Doubles) -> None:
    """As `sliding_deviations`, for the range; `rule` holds low, high and the least range, shape (3,)."""
    for channel in range(values.shape[0]):
        block, count, least, most = -1, 0, 0.0, 0.0
        for window in range(normal.shape[0]):
            start = window * hop
            if start // length != block:
                block, count = start // length, 0
                bound_block(values[channel, block * length : block * length + length], ends)
            while count < start - block * length:
                value = values[channel, block * length + length + count]
                least = value if count == 0 or value < least else least
                most = value if count == 0 or value > most else most
                count += 1
            lower, upper = ends[0, count], ends[1, count]
            if count > 0:
                lower = least if least < lower else lower
                upper = most if most > upper else upper
            put_range(lower, upper, rule, normal[window, channel])


@kernel("void(float64[:, ::1], int64, float64[:, :, ::1], float32[:, :, ::1])")
def cut_windows(values: Doubles, hop: int, normal: Doubles, out: Windows) -> None:
    """Write each window's (value - centre) / divisor + offset.

    Args:
        values: Shape (channels, points).
        hop: Points from one window's beginning to the next one's.
        normal: Shape (windows, channels, 3).
        out: Result, shape (windows, channels, length).
    """
    length = out.shape[2]
    for window in range(out.shape[0]):
        start = window * hop
        for channel in range(out.shape[1]):
            row, to = values[channel, start : start + length], out[window, channel]
            centre, offset = normal[window, channel, 0], normal[window, channel, 2]
            factor = 1.0 / normal[window, channel, 1]
            for point in range(length):
                to[point] = np.float32((row[point] - centre) * factor + offset)
