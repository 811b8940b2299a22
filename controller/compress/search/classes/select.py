"""Which candidates deserve a device's minutes: many are estimated, few are measured. Pure.

Decides: the order, and who is not worth it at any price. Leaves out: where estimates come from (`table`), and what
measuring costs (`measurer.py`).

    worthy([Point("a", 0.0, 0.5, 0.3), Point("b", 0.0, 0.9, 0.4)], measured=[Point("c", 0.0, 0.4, 0.3)], most=2)
    # []: both are slower than c by more than an estimate may err, lose as much and are no smaller
"""

from collections.abc import Sequence
from dataclasses import dataclass

LEAST_MARGIN = 0.1
"""An estimate is taken to be wrong by at least so much, whatever it says of itself."""


@dataclass(frozen=True)
class Point:
    """A candidate in one class. ratio: its time over the control's, measured or estimated."""

    name: str
    loss: float
    ratio: float
    wire_ratio: float

    @property
    def costs(self) -> tuple[float, float, float]:
        """What is to be small."""
        return self.loss, self.ratio, self.wire_ratio


def worthy(estimated: Sequence[Point], measured: Sequence[Point], most: int, margin: float = LEAST_MARGIN) -> list[str]:
    """Return the names of at most so many candidates to be measured next, the most promising first.

    A candidate that a measured one beats at everything, even where the estimate is wrong by the margin, is left out.
    The rest come front by front (a candidate of the first front is dominated by none), and the fastest first.

    Args:
        estimated: Nobody has measured them in this class.
        measured: What was measured.
        most: How many there is room for.
        margin: By how much estimates err, a ratio.
    """
    allowed = max(margin, LEAST_MARGIN)
    left = [each for each in estimated if not any(_beats(known, each, allowed) for known in measured)]
    found: list[str] = []
    while left and len(found) < most:
        front = [each for each in left if not any(dominates(other, each) for other in left)]
        found += [each.name for each in sorted(front, key=lambda one: (one.ratio, one.wire_ratio, one.name))]
        left = [each for each in left if each not in front]
    return found[:most]


def dominates(one: Point, other: Point) -> bool:
    """Tell whether one is as good at everything, and better at something."""
    return one.costs != other.costs and all(a <= b for a, b in zip(one.costs, other.costs, strict=True))


def _beats(known: Point, each: Point, margin: float) -> bool:
    sure = Point(each.name, each.loss, each.ratio * (1 - margin), each.wire_ratio)
    return dominates(known, sure)
