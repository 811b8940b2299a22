"""Time series: repair of missing values, resampling, statistics of the window.

All work on float64 arrays of shape (channels, length): offsets far larger than a signal's deviation lose nothing.
"""

import numpy as np
from numpy.typing import NDArray

from agent.inference.kernels.compiled import inner, kernel

Doubles = NDArray[np.float64]

NAN_RULES = {"error": 0, "zero": 1, "interpolate": 2, "forward": 3}
"""Name in the specification -> number in the kernel."""

LARGEST = 1e100
"""`LARGEST_NUMBER` of the specification. It stands here as well since machine code is kept by the digest of these
sources alone."""


@inner
def bridge(values: Doubles, channel: int, start: int, stop: int) -> None:
    """Fill [start, stop) of a channel on the line between its neighbours; at an end, with the neighbour's value."""
    length = values.shape[1]
    left = values[channel, start - 1] if start > 0 else values[channel, stop]
    right = values[channel, stop] if stop < length else left
    for index in range(start, stop):
        share = (index - start + 1) / (stop - start + 1)
        values[channel, index] = left + (right - left) * share


@inner
def hold(values: Doubles, channel: int, start: int, stop: int) -> None:
    """Fill [start, stop) of a channel with the value before; at the beginning, with the first one that there is."""
    value = values[channel, start - 1] if start > 0 else values[channel, stop]
    for index in range(start, stop):
        values[channel, index] = value


@inner
def usable_from(values: Doubles, channel: int, start: int) -> int:
    """Return the first point at or after `start` that is a number up to `LARGEST`, or the length."""
    point = start
    while point < values.shape[1] and not abs(values[channel, point]) <= LARGEST:
        point += 1
    return point


@kernel("int64(float64[:, ::1], int64)")
def repair_series(values: Doubles, rule: int) -> int:
    """Replace what is not finite or beyond `LARGEST`, in place.

    Args:
        values: Shape (channels, length).
        rule: One of `NAN_RULES`.
    Returns:
        How many values could not be repaired: all such ones under `error`, and under `interpolate` and `forward` those
        of a channel that has no other value.
    """
    bad = 0
    length = values.shape[1]
    for channel in range(values.shape[0]):
        point = 0
        while point < length:
            stop = usable_from(values, channel, point)
            if rule == 1:
                for index in range(point, stop):
                    values[channel, index] = 0.0
            elif rule == 2 and 0 < stop - point < length:
                bridge(values, channel, point, stop)
            elif rule == 3 and 0 < stop - point < length:
                hold(values, channel, point, stop)
            else:
                bad += stop - point
            point = stop + 1
    return bad


@kernel("void(float64[:, ::1], float64[:, ::1])")
def resample_linear(values: Doubles, out: Doubles) -> None:
    """Bring (channels, length) to (channels, new length) on straight lines; both ends stay where they are."""
    last, new_last = values.shape[1] - 1, out.shape[1] - 1
    for channel in range(values.shape[0]):
        for point in range(out.shape[1]):
            position = point * last / new_last if new_last > 0 else 0.0
            left = min(int(position), max(last - 1, 0))
            right = min(left + 1, last)
            share = position - left
            out[channel, point] = values[channel, left] * (1.0 - share) + values[channel, right] * share


@kernel("void(float64[:, ::1], int64, float64, float64[:, ::1])")
def window_statistics(values: Doubles, ddof: int, epsilon: float, normal: Doubles) -> None:
    """Mean and max(deviation, epsilon) of each channel, in two passes.

    Args:
        values: Shape (channels, length).
        ddof: The sum of squares is divided by length - ddof; where that is 0 the deviation counts as 0.
        epsilon: Least divisor.
        normal: Result: means, divisors, and 0 as what is put on top; shape (3, channels).
    """
    length = values.shape[1]
    for channel in range(values.shape[0]):
        total = 0.0
        for point in range(length):
            total += values[channel, point]
        middle = total / length
        squares = 0.0
        for point in range(length):
            squares += (values[channel, point] - middle) ** 2
        deviation = np.sqrt(squares / (length - ddof)) if length > ddof else 0.0
        normal[0, channel] = middle
        normal[1, channel] = max(deviation, epsilon)
        normal[2, channel] = 0.0
