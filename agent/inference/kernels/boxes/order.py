"""The best candidates first, stably: of equal scores the earlier stays the earlier."""

import numpy as np
from numpy.typing import NDArray

from agent.inference.kernels.compiled import kernel

Bits = NDArray[np.uint32]
Ints = NDArray[np.int32]
Indices = NDArray[np.int64]

CANDIDATES, DECODED, CHOSEN = range(3)
"""What the counters of a detection count."""


@kernel("void(uint32[::1], int64[::1], int64[::1], int64[::1], int64[::1])")
def order_by_score(bits: Bits, counters: Indices, order: Indices, spare: Indices, buckets: Indices) -> None:
    """Sort candidates by falling score: a radix sort, four passes of a byte.

    Args:
        bits: Scores as the bits of positive finite float32, which rise as the numbers do.
        counters: `counters[0]` candidates.
        order: Result: their places in `bits`, best first.
        spare: As large as `order`.
        buckets: Shape (256,).
    """
    count = counters[0]
    for index in range(count):
        order[index] = index
    source, target = order, spare
    for step in range(4):
        shift = np.uint32(8 * step)
        for bucket in range(256):
            buckets[bucket] = 0
        for index in range(count):
            buckets[255 - ((bits[index] >> shift) & np.uint32(255))] += 1
        begin = 0
        for bucket in range(256):
            begin, buckets[bucket] = begin + buckets[bucket], begin
        for index in range(count):
            bucket = 255 - ((bits[source[index]] >> shift) & np.uint32(255))
            target[buckets[bucket]] = source[index]
            buckets[bucket] += 1
        source, target = target, source


@kernel("void(int32[::1], int64[::1], int64, int64[::1], int64[::1])")
def group_by_class(classes: Ints, counters: Indices, agnostic: int, group: Indices, starts: Indices) -> None:
    """Bring boxes of one class together, each class in the order of its scores.

    Args:
        classes: Of the decoded boxes, best first.
        counters: `counters[1]` boxes.
        agnostic: 1: all boxes count as one class.
        group: Result: places of the boxes, class after class.
        starts: Result: where each class begins in `group`, shape (classes + 1,).
    """
    count, last = counters[1], starts.shape[0] - 1
    for number in range(last + 1):
        starts[number] = 0
    for index in range(count):
        starts[0 if agnostic else classes[index]] += 1
    begin = 0
    for number in range(last + 1):
        begin, starts[number] = begin + starts[number], begin
    for index in range(count):
        number = 0 if agnostic else classes[index]
        group[starts[number]] = index
        starts[number] += 1
    for number in range(last, 0, -1):
        starts[number] = starts[number - 1]
    starts[0] = 0
