"""Ranges of activations and the linear quantisation that follows from them.

Decides: how ranges merge, what a percentile of a histogram is, and what happens to a tensor that never varies. Leaves
out: how the values are observed (`stream.py`).

>>> linear_parameters(-1.0, 3.0, 0, 255)
(0.01568627450980392, 64)
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

HISTOGRAM_BINS = 4096
"""A bin is 1/16 of an int8 step of the whole range."""


@dataclass(frozen=True)
class Range:
    """The values of one tensor, from `low` to `high`."""

    low: float
    high: float

    def merged(self, other: "Range") -> "Range":
        return Range(min(self.low, other.low), max(self.high, other.high))

    def moved(self, other: "Range", ratio: float) -> "Range":
        """Return a range on the way to another one: 0 is this one, 1 the other."""
        return Range(self.low + ratio * (other.low - self.low), self.high + ratio * (other.high - self.high))

    @property
    def finite(self) -> bool:
        return math.isfinite(self.low) and math.isfinite(self.high)


def linear_parameters(low: float, high: float, q_min: int, q_max: int) -> tuple[float, int]:
    """Return scale and zero point of the affine quantisation of a range.

    The range is widened to hold 0, which must be exact (padding). A tensor that is 0 throughout gets scale 1, so that
    nothing is divided by zero.

    Args:
        low: Smallest value.
        high: Largest value, high >= low.
        q_min: Smallest integer, e.g. 0 or -128.
        q_max: Largest integer, e.g. 255 or 127.
    Returns:
        scale > 0 and zero_point in [q_min, q_max]: q = round(x / scale) + zero_point.
    Raises:
        ValueError: Not finite, or high < low.
    Source: Jacob et al. 2018, equation 1.
    """
    if not (math.isfinite(low) and math.isfinite(high)) or high < low:
        raise ValueError(f"no range: {low} to {high}")
    low, high = min(low, 0.0), max(high, 0.0)
    scale = (high - low) / (q_max - q_min)
    if scale == 0.0:
        return 1.0, max(q_min, min(q_max, 0))
    zero_point = round(q_min - low / scale)
    return scale, max(q_min, min(q_max, zero_point))


class Histogram:
    """Counts over a range that is known beforehand, so that its size never grows."""

    def __init__(self, over: Range, bins: int = HISTOGRAM_BINS, counts: NDArray[np.int64] | None = None) -> None:
        """Begin to count over a range, or go on with what was counted."""
        self.over = over
        self.counts = np.zeros(bins, dtype=np.int64) if counts is None else counts
        self._bins_per_unit = len(self.counts) / (over.high - over.low) if over.high > over.low else 0.0

    def add(self, values: NDArray[np.float32]) -> None:
        """Count values; those outside the range fall into the outermost bins."""
        places = ((values.reshape(-1) - np.float32(self.over.low)) * np.float32(self._bins_per_unit)).astype(np.int64)
        np.clip(places, 0, len(self.counts) - 1, out=places)
        self.counts += np.bincount(places, minlength=len(self.counts))

    def percentile_range(self, percentile: float) -> Range:
        """Return the range that keeps `percentile` of the values: half of the rest is cut on either side.

        Edges are those of bins: the range is never smaller than asked for.

        Args:
            percentile: In (50, 100].
        Raises:
            ValueError: Nothing was counted.
        """
        total = int(self.counts.sum())
        if total == 0:
            raise ValueError("the histogram is empty")
        cut = total * (100.0 - percentile) / 200.0
        below = np.cumsum(self.counts)
        first = int(np.searchsorted(below, cut, side="right"))
        last = int(np.searchsorted(below, total - cut, side="left"))
        width = (self.over.high - self.over.low) / len(self.counts)
        low = self.over.low + first * width
        high = self.over.low + (last + 1) * width
        return Range(low, min(high, self.over.high))
