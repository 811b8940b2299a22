"""Mean average precision as COCO has it, and what each picture brings to it. Pure; numpy.

Boxes of a class are taken best first; precision at a recall is the best one at that recall or more; its mean over
101 recalls is the class's average precision. The score is the mean over classes and thresholds of the overlap.
Left out of COCO's rules: sizes of objects, crowds, and more than the boxes that the pipeline answers.
Source: Lin et al., Microsoft COCO, ECCV 2014, and its evaluation as published with it.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from controller.choose.intervals.evidence import Matches

Floats = NDArray[np.float64]
THRESHOLDS: tuple[float, ...] = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))
"""Of the overlap (intersection over union)."""
RECALLS = np.linspace(0.0, 1.0, 101)


def class_precisions(matches: Matches) -> Floats:
    """Return each class's average precision at each threshold, shape (k, t); NaN for a class without true boxes."""
    classes, thresholds = matches.truths.shape[1], matches.right.shape[1]
    found = np.full((classes, thresholds), np.nan)
    order = np.argsort(-matches.scores, kind="stable")
    for number in np.flatnonzero(matches.truths.sum(axis=0)):
        own = order[matches.classes[order] == number]
        found[number] = _precision(matches.right[own], int(matches.truths[:, number].sum()))
    return found


def mean_precision(precisions: Floats) -> float:
    """Return the mean over classes that have true boxes, and thresholds.

    Raises:
        ValueError: None has.
    """
    seen = ~np.isnan(precisions).all(axis=1)
    if not seen.any():
        raise ValueError("no sample has a true box: nothing can be judged")
    return float(precisions[seen].mean())


@lru_cache(maxsize=32)
def precision_pseudo_values(matches: Matches) -> Floats:
    """Return each sample's pseudo-value of the mean average precision, shape (n,), read-only.

    A sample without which no true box is left keeps the score itself. Only the classes of a sample are counted again;
    of the same object the values are kept, since both bounds of several variants ask for the control's.
    """
    n, whole = len(matches), class_precisions(matches)
    score = mean_precision(whole)
    without = np.full(n, score)
    totals = matches.truths.sum(axis=0)
    order = np.argsort(-matches.scores, kind="stable")
    images, classes, right = matches.images[order], matches.classes[order], matches.right[order]
    rows = [np.flatnonzero(classes == number) for number in range(len(totals))]
    for sample in range(n):
        left = whole.copy()
        for number in _touched(matches, sample):
            remaining = int(totals[number] - matches.truths[sample, number])
            own = rows[number]
            left[number] = _precision(right[own[images[own] != sample]], remaining) if remaining else np.nan
        if not np.isnan(left).all():
            without[sample] = mean_precision(left)
    values: Floats = n * score - (n - 1) * without
    values.flags.writeable = False
    return values


def _touched(matches: Matches, sample: int) -> NDArray[np.int64]:
    """Return the classes that this sample has true boxes or answers of, and that are judged at all."""
    answered = matches.classes[matches.images == sample]
    found = np.union1d(answered, np.flatnonzero(matches.truths[sample]))
    judged: NDArray[np.int64] = found[matches.truths.sum(axis=0)[found] > 0]
    return judged


def _precision(right: NDArray[np.bool_], truths: int) -> Floats:
    """Return the average precision of boxes that come best first, right (d, t), shape (t,)."""
    if len(right) == 0:
        return np.zeros(right.shape[1])
    hits = np.cumsum(right, axis=0)
    precision = hits / np.arange(1, len(right) + 1)[:, np.newaxis]
    best = np.maximum.accumulate(precision[::-1], axis=0)[::-1]
    found = np.empty(right.shape[1])
    for column in range(right.shape[1]):
        place = np.searchsorted(hits[:, column] / truths, RECALLS - 1e-12)
        reached = place < len(right)
        found[column] = best[place[reached], column].sum() / len(RECALLS)
    return found
