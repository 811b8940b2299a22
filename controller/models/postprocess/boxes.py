"""A detection head's outputs into boxes, one picture at a time; the rule is that of `wire.spec.DetectionPost`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from controller.models.postprocess.geometry import Geometry
from wire.spec import DetectionPost
from wire.spec.heads import SIDES, detection_sizes

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Boxes:
    """Boxes of a picture, best first: sides (d, 4) in the query's pixels, classes (d,), scores (d,)."""

    sides: Doubles
    classes: NDArray[np.int64]
    scores: Doubles


def read_boxes(outputs: NDArray[Any], post: DetectionPost, geometry: Geometry, folder: Path | None = None) -> Boxes:
    """Return the boxes of one query.

    Args:
        outputs: As the worker gives them: one output without its batch axis, or two, flat, one behind the other.
        post: Its shapes are known where there are two outputs.
        geometry: How the query lies in the input.
        folder: Of the anchors' file.
    Raises:
        ValueError: The shapes are not those of such a head; expected and given are named.
    """
    corners, scores = _parts(outputs, post, geometry, folder)
    wide, tall = corners[:, 2] - corners[:, 0], corners[:, 3] - corners[:, 1]
    sound = np.isfinite(corners).all(axis=1) & (wide >= 0) & (tall >= 0)
    places, classes, kept = _candidates(scores, post)
    there = sound[places]
    places, classes, kept = places[there], classes[there], kept[there]
    sides, shown = placed(corners[places], geometry)
    left = [rank for rank in suppressed(corners[places], classes, post) if shown[rank]][: post.most]
    return Boxes(sides[left], classes[left], kept[left].astype(np.float64))


def placed(corners: Floats, geometry: Geometry) -> tuple[Doubles, NDArray[np.bool_]]:
    """Return boxes (n, 4) in the query's pixels, cut at its edges; and which of them it shows."""
    scale, offset, edges = (np.tile(pair, 2) for pair in (geometry.scale, geometry.offset, geometry.size))
    back = (corners.astype(np.float64) - offset) / scale
    if not edges.all():
        return back, np.ones(len(back), np.bool_)
    back = np.clip(back, 0, edges)
    return back, (back[:, 2] > back[:, 0]) & (back[:, 3] > back[:, 1])


def suppressed(corners: Floats, classes: NDArray[np.int64], post: DetectionPost) -> list[int]:
    """Return which of the boxes, best first, no better one of its class that stays overlaps by more than is allowed."""
    open_, kept = np.ones(len(corners), np.bool_), []
    overlaps_of = corners.astype(np.float32)
    for rank in range(len(corners)):
        if not open_[rank]:
            continue
        kept.append(rank)
        rivals = np.ones(len(corners), np.bool_) if post.class_agnostic else classes == classes[rank]
        behind = rivals & open_ & (np.arange(len(corners)) > rank)
        over = overlaps(overlaps_of[rank : rank + 1], overlaps_of[behind])[0] > post.iou_threshold
        open_[np.flatnonzero(behind)[over]] = False
    return kept


def overlaps(one: NDArray[Any], other: NDArray[Any]) -> NDArray[Any]:
    """Return the intersection over union of boxes (a, 4) and (b, 4), shape (a, b); 0 where neither has an area."""
    low = np.maximum(one[:, np.newaxis, :2], other[np.newaxis, :, :2])
    high = np.minimum(one[:, np.newaxis, 2:], other[np.newaxis, :, 2:])
    met = np.clip(high - low, 0, None).prod(axis=2)
    areas = [(each[:, 2:] - each[:, :2]).prod(axis=1) for each in (one, other)]
    whole = areas[0][:, np.newaxis] + areas[1] - met
    return np.asarray(np.divide(met, whole, out=np.zeros_like(met), where=whole > 0))


def _candidates(scores: Floats, post: DetectionPost) -> tuple[NDArray[np.int64], NDArray[np.int64], Floats]:
    """Return anchor, class and score of what is above the threshold, best first."""
    first = int(post.background)
    open_ = np.where(np.isnan(scores), -np.inf, scores)
    if post.multi_label:
        places, classes = np.nonzero(open_[:, first:] > np.float32(post.score_threshold))
        classes = classes + first
    else:
        best = open_[:, first:].argmax(axis=1) + first
        places = np.flatnonzero(open_[np.arange(len(open_)), best] > np.float32(post.score_threshold))
        classes = best[places]
    found = open_[places, classes]
    order = np.argsort(-found, kind="stable")[: post.most_candidates]
    return places[order], classes[order], found[order]


def _parts(
    outputs: NDArray[Any], post: DetectionPost, geometry: Geometry, folder: Path | None
) -> tuple[Floats, Floats]:
    """Return corners (anchors, 4) in the model's pixels, and activated scores (anchors, classes)."""
    if post.head == "yolo":
        detection_sizes(post, [(1, *outputs.shape)])
        rows = outputs if post.anchors_first else outputs.T
        before = SIDES + int(post.objectness)
        values, raw = rows[:, :SIDES], rows[:, before:]
    else:
        assert post.scores is not None  # the specification saw to it
        anchors, classes = detection_sizes(post, [post.output.shape, post.scores.shape])
        values = outputs[: anchors * SIDES].reshape(anchors, SIDES)
        raw = outputs[anchors * SIDES :].reshape(anchors, classes)
    scores = _activated(raw, post.activation)
    if post.objectness:
        scores = scores * _activated(rows[:, SIDES : SIDES + 1], post.activation)
    return _corners(values.astype(np.float64), post, geometry, folder), scores.astype(np.float32)


def _activated(raw: NDArray[Any], activation: str) -> Doubles:
    wide = raw.astype(np.float64)
    with np.errstate(over="ignore"):
        if activation == "sigmoid":
            return np.asarray(1 / (1 + np.exp(-wide)))
        if activation == "softmax":
            powers = np.exp(wide - wide.max(axis=1, keepdims=True))
            return np.asarray(powers / powers.sum(axis=1, keepdims=True))
    return wide


def _corners(values: Doubles, post: DetectionPost, geometry: Geometry, folder: Path | None) -> Floats:
    order = post.order or ("yx" if post.head == "ssd" else "xy")
    if post.head == "ssd":
        values = _from_anchors(values, post, folder)
    if order == "yx":
        values = values[:, [1, 0, 3, 2]]
    if post.head != "boxes":
        half = values[:, 2:] / 2
        values = np.hstack([values[:, :2] - half, values[:, :2] + half])
    unit = post.normalised or post.head == "ssd"
    return np.asarray(values * np.tile(geometry.model if unit else (1, 1), 2), dtype=np.float32)


def _from_anchors(offsets: Doubles, post: DetectionPost, folder: Path | None) -> Doubles:
    if folder is None or post.anchors_file is None:
        raise ValueError("a head with anchors needs the model's folder")
    anchors = np.load(folder / post.anchors_file, allow_pickle=False).astype(np.float64)
    if anchors.shape != offsets.shape:
        raise ValueError(f"{post.anchors_file} has shape {anchors.shape}, the model {offsets.shape} offsets")
    shares = np.asarray(post.variances)
    centres = anchors[:, :2] + offsets[:, :2] * shares[:2] * anchors[:, 2:]
    return np.hstack([centres, np.exp(offsets[:, 2:] * shares[2:]) * anchors[:, 2:]])
