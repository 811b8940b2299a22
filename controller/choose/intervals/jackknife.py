"""Scores that are no mean over samples: what each sample brings to one, by leaving it out. Pure; numpy.

Decides: pseudo-values, whose mean is the score and whose spread is its uncertainty. A pixel is no sample: those
of one picture stand or fall together.
Source: Tukey 1958; Miller, The jackknife - a review, Biometrika 61 (1974) 1-15.
"""

from math import sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from controller.choose.intervals.evidence import Ratios

Floats = NDArray[np.float64]
NO_INTERVAL = (0.0, 1.0)


def mean_ratio(ratios: Ratios) -> float:
    """Return the mean over classes of sum(parts) / sum(wholes).

    Raises:
        ValueError: No label has any class.
    """
    return float(np.mean(class_ratios(ratios)[ratios.counted.any(axis=0)])) if ratios.counted.any() else _nothing()


def class_ratios(ratios: Ratios) -> Floats:
    """Return sum(parts) / sum(wholes) of each class, shape (k,); 0 where there is nothing to divide by."""
    return _divided(ratios.parts.sum(axis=0), ratios.wholes.sum(axis=0))


def ratio_pseudo_values(ratios: Ratios) -> Floats:
    """Return each sample's pseudo-value of the mean ratio, shape (n,).

    A sample without which no class is left keeps the score itself.

    Raises:
        ValueError: No label has any class.
    """
    n, whole = len(ratios), mean_ratio(ratios)
    left = _divided(ratios.parts.sum(axis=0) - ratios.parts, ratios.wholes.sum(axis=0) - ratios.wholes)
    present = (ratios.counted.sum(axis=0) - ratios.counted) > 0
    classes = present.sum(axis=1)
    without = np.where(classes > 0, (left * present).sum(axis=1) / np.maximum(classes, 1), whole)
    values: Floats = n * whole - (n - 1) * without
    return values


def class_intervals(ratios: Ratios, confidence: float) -> list[tuple[float, float]]:
    """Return an interval of each class's ratio: Student's t on pseudo-values, within 0 and 1.

    (0, 1) for a class that fewer than two samples have, or whose samples are all alike: nothing tells them apart.
    """
    found = []
    for number in range(ratios.parts.shape[1]):
        one = slice(number, number + 1)
        there = ratios.wholes[:, number] > 0
        own = Ratios(ratios.parts[there, one], ratios.wholes[there, one], np.ones((int(there.sum()), 1), np.bool_))
        found.append(t_interval(ratio_pseudo_values(own), confidence) if len(own) > 1 else NO_INTERVAL)
    return found


def t_interval(pseudo_values: Floats, confidence: float) -> tuple[float, float]:
    """Return Student's interval of the mean of pseudo-values (n,), n >= 2, within 0 and 1."""
    n, spread = len(pseudo_values), float(pseudo_values.std(ddof=1))
    if spread == 0:
        return NO_INTERVAL
    half = float(student.ppf((1 + confidence) / 2, n - 1)) * spread / sqrt(n)
    middle = float(pseudo_values.mean())
    return max(0.0, middle - half), min(1.0, middle + half)


def _divided(parts: Floats, wholes: Floats) -> Floats:
    return np.divide(parts, wholes, out=np.zeros_like(parts, dtype=np.float64), where=wholes > 0)


def _nothing() -> float:
    raise ValueError("no sample has a label: nothing can be judged")
