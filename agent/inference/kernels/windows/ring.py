"""The last points of a stream, in order and in one piece at any time.

Each point is written twice, `length` places apart, into a ring of twice the length: the last `length` points then
always lie side by side, and nothing is ever shifted.
"""

import numpy as np
from numpy.typing import NDArray

from agent.inference.kernels.compiled import kernel

Doubles = NDArray[np.float64]
Indices = NDArray[np.int64]

START, TAKEN = 0, 1
"""Places in `state`: where the oldest point of the ring lies, and how many points it holds."""


@kernel("void(float64[:, ::1], int64[::1], float64[:, ::1])")
def push_points(points: Doubles, state: Indices, ring: Doubles) -> None:
    """Put points behind those that are there; the oldest ones go.

    Args:
        points: Shape (channels, any number), oldest first.
        state: Start and number taken, shape (2,); both are brought up to date.
        ring: Shape (channels, 2 * length). Its points are [start, start + length) of each channel.
    """
    length, count = ring.shape[1] // 2, points.shape[1]
    first = max(count - length, 0)
    start = state[0]
    for channel in range(points.shape[0]):
        place = state[0]
        for point in range(first, count):
            ring[channel, place] = points[channel, point]
            ring[channel, place + length] = points[channel, point]
            place = place + 1 if place + 1 < length else 0
        start = place
    state[0] = start
    state[1] = min(state[1] + count, length)
