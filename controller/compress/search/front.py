"""Which of the timed candidates are best at something, and which of those lies in the middle. Pure.

Decides: the front over loss, time and bytes; its knee; what is taken first while nothing is final. Leaves out: the pick
(`finish.py`), which follows the rules that devices' variants are chosen by.

    front_of(rows)  # fastest first; no other row is at least as good in all three
"""

from collections.abc import Sequence
from math import log

from controller.compress.search.study import Row

TOLERANCE = 0.05
"""Candidates that are within so much of the fastest are told apart by their bytes, as in a choice among devices'."""


def front_of(rows: Sequence[Row]) -> list[Row]:
    """Return the timed rows that no other one dominates, fastest first; of equal ones, the first."""
    timed = [row for row in rows if row.outcome == "timed" and None not in costs(row)]
    kept = [row for place, row in enumerate(timed) if not any(
        _dominates(costs(other), costs(row)) or (costs(other) == costs(row) and before < place)
        for before, other in enumerate(timed)
    )]  # fmt: skip
    return sorted(kept, key=lambda row: (row.ratio or 0.0, row.wire_ratio or 0.0, row.variant))


def costs(row: Row) -> tuple[float, ...]:
    """Return what is to be small: loss, time and bytes, the last two over the baseline's."""
    return (row.loss, row.ratio, row.wire_ratio)  # type: ignore[return-value]  # of timed rows none is null


def knee_of(rows: Sequence[Row]) -> Row | None:
    """Return the row that is nearest to the best of everything, each axis from its best (0) to its worst (1).

    Time and bytes are taken as logarithms: twice as fast is twice as fast at any speed.
    """
    front = front_of(rows)
    if not front:
        return None
    points = [(row.loss or 0.0, log(row.ratio or 1.0), log(row.wire_ratio or 1.0)) for row in front]
    low, high = [min(axis) for axis in zip(*points, strict=True)], [max(axis) for axis in zip(*points, strict=True)]

    def distance(point: tuple[float, ...]) -> float:
        scaled = [(x - a) / (b - a) if b > a else 0.0 for x, a, b in zip(point, low, high, strict=True)]
        return sum(each**2 for each in scaled)

    return min(zip(front, points, strict=True), key=lambda pair: (distance(pair[1]), pair[0].variant))[0]


def best_of(rows: Sequence[Row]) -> Row | None:
    """Return the fastest that keeps the limit; among those nearly as fast, the smallest."""
    front = front_of(rows)
    if not front:
        return None
    fast = [row for row in front if (row.ratio or 1.0) <= (front[0].ratio or 1.0) * (1 + TOLERANCE)]
    return min(fast, key=lambda row: (row.wire_ratio or 1.0, row.ratio or 1.0, row.variant))


def most_of(front: Sequence[Row], most: int) -> list[Row]:
    """Return at most so many of a front: the best at each thing, the knee, then those that gain most in all."""
    if len(front) <= most:
        return list(front)
    smallest = min(front, key=lambda row: (costs(row)[2], row.variant))
    truest = min(front, key=lambda row: (costs(row)[0], row.variant))
    first = [best_of(front), smallest, truest]
    order = [row for row in (*first, knee_of(front)) if row is not None]
    order += sorted(front, key=lambda row: (log(row.ratio or 1.0) + log(row.wire_ratio or 1.0), row.variant))
    names = list(dict.fromkeys(row.variant for row in order))[:most]
    return [row for row in front if row.variant in names]


def _dominates(one: Sequence[float], other: Sequence[float]) -> bool:
    return one != other and all(a <= b for a, b in zip(one, other, strict=True))
