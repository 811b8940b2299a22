"""Smallest and largest value, and quartiles, of each channel of a window; differences from point to point.

As `series.window_statistics`, the results stand in `normal`, shape (3, channels): what is taken off a value, what it is
divided by, and what is put on top.
"""

import numpy as np
from numpy.typing import NDArray

from agent.inference.kernels.compiled import inner, kernel

Doubles = NDArray[np.float64]

MULTIPLIER, INCREMENT, MODULUS = 1_103_515_245, 12_345, 2**31
"""Numbers that look like chance, for pivots: any fixed choice has windows that it sorts in quadratic time."""


@kernel("void(float64[:, ::1], float64[:, ::1], float64[:, ::1])")
def difference_series(values: Doubles, work: Doubles, out: Doubles) -> None:
    """Take differences of neighbours, again and again until `out` is full.

    Args:
        values: Shape (channels, length + order).
        work: Room, of the shape of `values`; it is overwritten.
        out: Shape (channels, length).
    """
    longer, length = values.shape[1], out.shape[1]
    for channel in range(values.shape[0]):
        for point in range(longer):
            work[channel, point] = values[channel, point]
        for last in range(longer - 1, length - 1, -1):
            for point in range(last):
                work[channel, point] = work[channel, point + 1] - work[channel, point]
        for point in range(length):
            out[channel, point] = work[channel, point]


@kernel("void(float64[:, ::1], float64, float64, float64, float64[:, ::1])")
def window_extremes(values: Doubles, low: float, high: float, epsilon: float, normal: Doubles) -> None:
    """Bring each channel's least value to `low` and its largest one to `high`.

    Args:
        values: Shape (channels, length).
        low: What the least value becomes.
        high: What the largest value becomes.
        epsilon: Least range that is divided by.
        normal: Result, shape (3, channels).
    """
    for channel in range(values.shape[0]):
        least = most = values[channel, 0]
        for point in range(values.shape[1]):
            value = values[channel, point]
            least = value if value < least else least
            most = value if value > most else most
        normal[0, channel] = least
        normal[1, channel] = max(most - least, epsilon) / (high - low)
        normal[2, channel] = low


@inner
def part(values: Doubles, first: int, last: int, pivot: float) -> tuple[int, int]:
    """Bring what is below `pivot` before what is above it; return where the first part ends and the second begins."""
    left, right = first, last
    while left <= right:
        while values[left] < pivot:
            left += 1
        while values[right] > pivot:
            right -= 1
        if left <= right:
            kept = values[left]
            values[left] = values[right]
            values[right] = kept
            left += 1
            right -= 1
    return right, left


@inner
def select(values: Doubles, place: int, first: int, last: int) -> float:
    """Return the value that sorting [first, last] would put at `place`; smaller ones are then before it (Hoare)."""
    state = 1
    while first < last:
        state = (state * MULTIPLIER + INCREMENT) % MODULUS
        ends, begins = part(values, first, last, values[first + state % (last - first + 1)])
        if place <= ends:
            last = ends
        elif place >= begins:
            first = begins
        else:
            break
    found: float = values[place]
    return found


@inner
def quantile(values: Doubles, share: float, first: int) -> float:
    """Return a quantile on the line between its neighbours, numpy's default; points before `first` are smaller ones."""
    last = values.shape[0] - 1
    position = share * last
    below = int(position)
    value = select(values, below, first, last)
    if below == last:
        return value
    above: float = values[below + 1]
    for point in range(below + 2, last + 1):  # behind its place all are larger: the least of them is next
        above = values[point] if values[point] < above else above
    found: float = value + (above - value) * (position - below)
    return found


@kernel("void(float64[:, ::1], float64, float64[::1], float64[:, ::1])")
def window_quartiles(values: Doubles, epsilon: float, work: Doubles, normal: Doubles) -> None:
    """Median and max(interquartile range, epsilon) of each channel, by selection.

    Args:
        values: Shape (channels, length).
        epsilon: Least divisor.
        work: Room, shape (length,).
        normal: Result, shape (3, channels).
    """
    length = values.shape[1]
    for channel in range(values.shape[0]):
        for point in range(length):
            work[point] = values[channel, point]
        lower = quantile(work, 0.25, 0)
        median = quantile(work, 0.5, int(0.25 * (length - 1)))
        upper = quantile(work, 0.75, int(0.5 * (length - 1)))
        normal[0, channel] = median
        normal[1, channel] = max(upper - lower, epsilon)
        normal[2, channel] = 0.0
