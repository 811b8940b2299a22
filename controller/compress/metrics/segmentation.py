"""Segmentation: intersection over union of each class, their mean, and the share of right pixels."""

from typing import cast

import numpy as np
from numpy.typing import NDArray

from controller.choose.intervals.evidence import Ratios
from controller.choose.intervals.jackknife import class_intervals, mean_ratio, ratio_pseudo_values, t_interval
from controller.choose.intervals.proportion import CONFIDENCE
from controller.compress.metrics.worth import Array, Asked, Worth, between, ratio
from controller.models.labels.arrays import NO_CLASS
from controller.models.postprocess.maps import class_maps
from wire.spec import SegmentationPost

Counts = NDArray[np.int64]


def judge_segmentation(asked: Asked) -> Worth:
    """Judge scores of pixels: the largest one's class is the answer, at the masks' size.

    Raises:
        ValueError: Masks of a size that the answers do not have.
    """
    post, masks = cast(SegmentationPost, asked.pipeline.post), asked.samples.labels
    query = asked.samples.inputs.shape[1:]
    maps, classes = class_maps(asked.outputs, post, asked.pipeline.pre, masks.shape[1:], query)
    met, given, true = counts(maps, masks, classes)
    overlap = Ratios(met.astype(np.float64), (given + true - met).astype(np.float64), true > 0)
    known = int(true.sum())
    metrics = {"mean_iou": mean_ratio(overlap), "pixel_accuracy": ratio(int(met.sum()), known), "pixels": float(known)}
    if len(masks) > 1:
        metrics |= between("mean_iou", t_interval(ratio_pseudo_values(overlap), CONFIDENCE))
    return Worth(metrics, overlap, tuple(_rows(met, given, true, overlap)))


def counts(maps: Array, masks: Array, classes: int) -> tuple[Counts, Counts, Counts]:
    """Return of each sample and class the pixels that were met, called so, and are so; shapes (n, classes).

    Pixels of which nothing is known (-1) count nowhere.

    Args:
        maps: Class of each pixel as answered, shape (n, rows, columns).
        masks: True class, same shape.
        classes: How many there are.
    """
    found = [np.zeros((len(maps), classes), np.int64) for _ in range(3)]
    for sample, (answer, mask) in enumerate(zip(maps, masks, strict=True)):
        there = mask != NO_CLASS
        given, true = answer[there].astype(np.int64), mask[there].astype(np.int64)
        for kept, numbers in zip(found, (given[given == true], given, true), strict=True):
            kept[sample] = np.bincount(numbers, minlength=classes)
    return found[0], found[1], found[2]


def _rows(met: Counts, given: Counts, true: Counts, overlap: Ratios) -> list[dict[str, float]]:
    rows = []
    for number, interval in enumerate(class_intervals(overlap, CONFIDENCE)):
        hits, called, there = (int(each[:, number].sum()) for each in (met, given, true))
        rows.append(
            {
                "iou": ratio(hits, called + there - hits),
                **between("iou", interval),
                "recall": ratio(hits, there),
                "precision": ratio(hits, called),
                "pixels": float(there),
                "predicted": float(called),
                "samples": float((true[:, number] > 0).sum()),
            }
        )
    return rows
