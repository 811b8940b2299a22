"""Which part of a tensor's values gets the 256 levels of int8: all of them, or fewer with finer steps. Pure.

Decides: the range for each way of calibrating, from a histogram. Leaves out: how values are observed (`stream.py`).

>>> Method("percentile", 99.9).range_of(histogram)
Range(low=-1.2, high=3.4)
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from controller.compress.calibrate.ranges import Histogram, Range, linear_parameters

LEVELS = 256
SHRINKS = np.linspace(0.05, 1.0, 96)
"""Shares of a range that are tried: every hundredth, down to a twentieth."""
SWEEPS = 3
SMOOTHING = 1e-4
"""What a level without values counts where the tensor has some: else the divergence is infinite."""
PERCENTILE = 99.99
"""Half of the outer 0.01 % of an activation's values are clipped on either side."""

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Method:
    """How a range follows from what was observed.

    minmax: the extremes. moving_average: of the extremes of each batch. percentile: the share of values that is kept.
    entropy: least divergence of the quantised distribution (Migacz 2017, 8-bit inference with TensorRT). mse: least
    squared error after quantising (as in Banner et al. 2019, here by search instead of a fitted distribution).
    """

    name: Literal["minmax", "moving_average", "percentile", "entropy", "mse"] = "minmax"
    percentile: float | None = None

    @property
    def counts(self) -> bool:
        """Whether it needs histograms: a second run over the samples."""
        return self.name in ("percentile", "entropy", "mse")

    def range_of(self, histogram: Histogram) -> Range:
        """Return the range of a tensor from its histogram.

        Raises:
            ValueError: Nothing was counted.
        """
        if not histogram.counts.sum():
            raise ValueError("the histogram is empty")
        if self.name == "percentile":
            return histogram.percentile_range(PERCENTILE if self.percentile is None else self.percentile)
        if self.name == "entropy":
            return least_divergence(histogram)
        return least_error(histogram)


def least_error(histogram: Histogram) -> Range:
    """Return the range of the least mean squared error: ends are moved in turn, each to its best place.

    A tensor of one value keeps its range.
    """
    values, counts = _centres(histogram), histogram.counts.astype(np.float64)
    ends = np.array([1.0, 1.0])
    for _ in range(SWEEPS):
        before = ends.copy()
        for end in (0, 1):
            tried = [_with(ends, end, share) for share in SHRINKS]
            errors = [_squared_error(values, counts, _shrunk(histogram.over, each)) for each in tried]
            ends = tried[len(errors) - 1 - int(np.argmin(errors[::-1]))]  # of equal ones the widest
        if np.array_equal(before, ends):
            break
    return _shrunk(histogram.over, ends)


def least_divergence(histogram: Histogram) -> Range:
    """Return the range whose quantised distribution diverges least from the tensor's own.

    Tried are thresholds on the absolute value; an end that is nearer to zero stays.
    """
    counts, over = histogram.counts.astype(np.float64), histogram.over
    width = (over.high - over.low) / len(counts)
    if width > 0 and over.low <= 0 <= over.high:
        # Zero is stored exactly. Behind a ReLU it is most of all values, and would outvote what is to be decided.
        counts[min(len(counts) - 1, int(-over.low / width))] = 0
    best, least = over, np.inf
    for threshold in SHRINKS[::-1] * max(abs(over.low), abs(over.high)):
        low, high = max(over.low, -threshold), min(over.high, threshold)
        if width == 0 or (high - low) / width < LEVELS:
            continue
        first, last = round((low - over.low) / width), round((high - over.low) / width)
        if (divergence := _divergence(counts, first, last)) < least:
            best, least = Range(over.low + first * width, over.low + last * width), divergence
    return best


def _centres(histogram: Histogram) -> Numbers:
    edges = np.linspace(histogram.over.low, histogram.over.high, len(histogram.counts) + 1)
    return (edges[:-1] + edges[1:]) / 2


def _with(ends: Numbers, end: int, share: float) -> Numbers:
    changed = ends.copy()
    changed[end] = share
    return changed


def _shrunk(over: Range, ends: Numbers) -> Range:
    """Return a range with each end nearer to zero; an end on the other side of zero stays."""
    low = over.low * float(ends[0]) if over.low < 0 else over.low
    return Range(low, over.high * float(ends[1]) if over.high > 0 else over.high)


def _squared_error(values: Numbers, counts: Numbers, tried: Range) -> float:
    if tried.high < tried.low:
        return np.inf
    scale, zero = linear_parameters(tried.low, tried.high, 0, LEVELS - 1)
    restored = (np.clip(np.rint(values / scale) + zero, 0, LEVELS - 1) - zero) * scale
    return float((counts * (values - restored) ** 2).sum())


def _divergence(counts: Numbers, first: int, last: int) -> float:
    """Return the Kullback-Leibler divergence of what 256 levels make of a part, from the whole with its ends cut."""
    inside = counts[first:last]
    if not inside.any():
        return np.inf
    wanted = inside.copy()
    wanted[0] += counts[:first].sum()
    wanted[-1] += counts[last:].sum()
    level = np.arange(len(inside)) * LEVELS // len(inside)
    filled = wanted > 0
    totals = np.bincount(level, inside, LEVELS)
    places = np.maximum(np.bincount(level, filled.astype(np.float64), LEVELS), 1)
    made = np.where(filled, (totals / places)[level], 0.0)
    made = np.where(filled & (made == 0), SMOOTHING, made)
    wanted, made = wanted[filled] / wanted.sum(), made[filled] / made.sum()
    return float((wanted * np.log(wanted / made)).sum())
