"""Do labels fit the model? Every refusal names what was given and what is expected."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from controller.errors import UnusableData
from controller.models.labels.arrays import NO_CLASS, are_known
from controller.models.labels.kinds import ModelKind
from wire.spec import DetectionPost, Pipeline, SegmentationPost, output_tensors
from wire.spec.heads import detection_sizes, known, map_sizes

Labels = NDArray[Any]


def check_labels(kind: ModelKind, labels: Labels, pipeline: Pipeline, where: str) -> None:
    """Refuse labels that the model's outputs cannot be held against.

    Args:
        kind: Of the model.
        labels: In the form in which they are kept, one of each sample.
        pipeline: Of the baseline.
        where: Names the source in messages.
    Raises:
        UnusableData: NaN, or a class that the model does not have.
    """
    if kind == "embedding" or not are_known(kind, labels):
        return
    if kind == "regression":
        if not np.isfinite(labels).all():
            raise UnusableData(f"{where}: a label is NaN or infinite")
    elif kind == "classification":
        _check_classes(labels, pipeline, where)
    elif kind == "anomaly":
        _check_range(labels, 2, "labels", where, "0 is normal, 1 anomalous")
    elif kind == "detection":
        _check_boxes(labels, _detected(pipeline), where)
    else:
        _check_places(kind, labels, pipeline, where)


def check_judged(kind: ModelKind, labels: Labels, where: str) -> None:
    """Refuse evaluation labels that no metric of this kind is defined for.

    Raises:
        UnusableData: None are known, or all are of the one sort.
    """
    if not are_known(kind, labels):
        raise UnusableData(f"{where}: no labels, so that no variant can be judged; {_ASKED[kind]}")
    if kind == "anomaly" and len(np.unique(labels)) < 2:
        only = "anomalous" if labels[0] else "normal"
        raise UnusableData(f"{where}: all {len(labels)} samples are {only}; AUROC needs both sorts")
    if kind in ("segmentation", "sequence") and not (labels != NO_CLASS).any():
        raise UnusableData(f"{where}: every label is {NO_CLASS}, so that nothing is known of any sample")
    if kind == "detection" and not (labels[..., 4] != NO_CLASS).any():
        raise UnusableData(f"{where}: there is no true box in any sample; average precision needs some")


_ASKED = {
    "anomaly": "add an array `labels` of 0 (normal) and 1 (anomalous)",
    "segmentation": "add an array `masks` (n, rows, columns) of class numbers",
    "sequence": "add an array `tokens` (n, length)",
    "detection": "add arrays `boxes` (n, most, 4) and `classes` (n, most)",
}


def _check_classes(labels: Labels, pipeline: Pipeline, where: str) -> None:
    classes = pipeline.post.output.shape[-1] if pipeline.post.output.shape else -1
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or (classes > 0 and high >= classes):
        one = "; classes need an output each: export the model with one for each, or import it with --kind regression"
        hint = one if classes == 1 else ""
        raise UnusableData(f"{where}: labels run from {low} to {high}, the model has classes 0 to {classes - 1}{hint}")


def _check_range(labels: Labels, classes: int, what: str, where: str, meaning: str) -> None:
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= classes:
        raise UnusableData(f"{where}: {what} run from {low} to {high}; {meaning}")


def _check_places(kind: ModelKind, labels: Labels, pipeline: Pipeline, where: str) -> None:
    """Check masks and tokens, of which -1 stands for nothing."""
    post, highest = pipeline.post, int(labels.max())
    shape = post.output.shape
    if isinstance(post, SegmentationPost):
        classes = map_sizes(post, shape)[0] if known([shape]) else shape[1 if post.layout == "NCHW" else -1]
    else:
        classes = shape[-1] if len(shape) == 3 else -1
    if classes > 0 and highest >= classes:
        named = "masks" if kind == "segmentation" else "tokens"
        raise UnusableData(
            f"{where}: {named} run up to {highest}, the model has 0 to {classes - 1}; {NO_CLASS} stands for none"
        )


def _detected(pipeline: Pipeline) -> tuple[int, int]:
    """Return the first class that is detected, and how many there are with the background; 0 where it is not known."""
    post = pipeline.post
    if not isinstance(post, DetectionPost):
        return 0, 0
    shapes = [tensor.shape for tensor in output_tensors(post)]
    return int(post.background), detection_sizes(post, shapes)[1] if known(shapes) else 0


def _check_boxes(labels: Labels, detected: tuple[int, int], where: str) -> None:
    first, classes = detected
    numbers, sides = labels[..., 4], labels[..., :4]
    there = numbers != NO_CLASS
    held = numbers[there]
    if held.size and (held.min() < first or (classes and held.max() >= classes)):
        most = f" to {classes - 1}" if classes else " or more"
        raise UnusableData(
            f"{where}: classes of boxes run from {int(held.min())} to {int(held.max())}, the model has {first}{most}; "
            f"{NO_CLASS} stands for no box"
        )
    fits = np.isfinite(sides).all(axis=-1) & (sides[..., 2] > sides[..., 0]) & (sides[..., 3] > sides[..., 1])
    if (there & ~fits).any():
        sample, place = (int(axis[0]) for axis in np.nonzero(there & ~fits))
        raise UnusableData(
            f"{where}: box {place} of sample {sample} is {sides[sample, place].tolist()}; left, top, right, bottom are "
            f"needed, right above left and bottom above top"
        )
