"""Detection: mean average precision, as COCO has it, of the boxes that the pipeline answers.

Boxes below `post.score_threshold` are not answered, and missed here: numbers to be held beside published ones need a
low threshold (0.001) and `most: 100`. Crowds and sizes of objects are not told apart.
"""

from typing import cast

import numpy as np
from numpy.typing import NDArray

from controller.choose.intervals.average_precision import (
    THRESHOLDS,
    class_precisions,
    mean_precision,
    precision_pseudo_values,
)
from controller.choose.intervals.evidence import Matches
from controller.choose.intervals.jackknife import t_interval
from controller.choose.intervals.proportion import CONFIDENCE, wilson
from controller.compress.metrics.worth import Array, Asked, Worth, between, ratio
from controller.models.labels.arrays import NO_CLASS
from controller.models.postprocess.boxes import Boxes, overlaps, read_boxes
from controller.models.postprocess.geometry import geometry_of
from wire.spec import DetectionPost


def judge_detection(asked: Asked) -> Worth:
    """Judge a head's outputs.

    Raises:
        ValueError: Outputs that are those of no such head.
    """
    post, inputs = cast(DetectionPost, asked.pipeline.post), asked.samples.inputs
    geometry = geometry_of(asked.pipeline.pre, inputs.shape[1:])
    found = [read_boxes(output, post, geometry, asked.folder) for output in asked.outputs]
    matches = matched(found, asked.samples.labels)
    precisions = class_precisions(matches)
    seen = ~np.isnan(precisions).all(axis=1)
    metrics = {"map": mean_precision(precisions), "map_50": float(precisions[seen, 0].mean())}
    if len(found) > 1:
        metrics |= between("map", t_interval(precision_pseudo_values(matches), CONFIDENCE))
    metrics |= {"boxes": float(matches.truths.sum()), "answered": float(len(matches.scores))}
    return Worth(metrics, matches, tuple(_rows(matches, precisions)))


def matched(found: list[Boxes], labels: Array) -> Matches:
    """Hold boxes against the true ones, each picture and class alone.

    Best first, a box takes the true one that it overlaps most and that no better box has taken, if it does so by the
    threshold at least.

    Args:
        found: Of each sample.
        labels: Left, top, right, bottom, class of true boxes, shape (n, most, 5); class -1 where there is none.
    """
    numbers = labels[..., 4].astype(np.int64)
    most = max([int(numbers.max(initial=0)), *(int(each.classes.max(initial=0)) for each in found)])
    truths = np.zeros((len(found), most + 1), np.int64)
    right = []
    for sample, (boxes, known, sides) in enumerate(zip(found, numbers, labels[..., :4], strict=True)):
        truths[sample] = np.bincount(known[known != NO_CLASS], minlength=most + 1)
        right.append(_right(boxes, known, sides))
    counts = [len(each.scores) for each in found]
    return Matches(
        np.repeat(np.arange(len(found)), counts),
        np.concatenate([each.classes for each in found]).astype(np.int64),
        np.concatenate([each.scores for each in found]).astype(np.float64),
        np.concatenate(right),
        truths,
    )


def _right(boxes: Boxes, known: NDArray[np.int64], sides: Array) -> NDArray[np.bool_]:
    """Return which boxes of a picture meet a true one, at each threshold, shape (d, t)."""
    right = np.zeros((len(boxes.scores), len(THRESHOLDS)), np.bool_)
    for number in np.unique(boxes.classes):
        own, true = np.flatnonzero(boxes.classes == number), sides[known == number].astype(np.float64)
        if len(true):
            over = overlaps(boxes.sides[own], true)
            for column, threshold in enumerate(THRESHOLDS):
                right[own, column] = _taken(over, threshold)
    return right


def _taken(over: NDArray[np.float64], threshold: float) -> NDArray[np.bool_]:
    free, found = np.ones(over.shape[1], np.bool_), np.zeros(len(over), np.bool_)
    for rank, row in enumerate(over):
        open_ = np.where(free, row, -1.0)
        best = int(open_.argmax())
        if open_[best] >= threshold:
            free[best], found[rank] = False, True
    return found


def _rows(matches: Matches, precisions: NDArray[np.float64]) -> list[dict[str, float]]:
    """Return each class's precision; recall at an overlap of 0.5, with Wilson's interval over true boxes."""
    rows = []
    for number, row in enumerate(precisions):
        own, true = matches.classes == number, int(matches.truths[:, number].sum())
        met = int(matches.right[own, 0].sum())
        rows.append(
            {
                "map": float(np.nan_to_num(row).mean()),
                "map_50": float(np.nan_to_num(row)[0]),
                "recall_50": ratio(met, true),
                **between("recall_50", wilson(met, true)),
                "boxes": float(true),
                "answered": float(own.sum()),
                "samples": float((matches.truths[:, number] > 0).sum()),
            }
        )
    return rows
