"""Made-up arguments of the kernels behind boxes and masks, to hold their compiled forms against the Python source."""

from collections.abc import Callable
from typing import Any

import numpy as np

from agent.inference.kernels.boxes import decode, scores
from tests.unit.agent.inference.post.box_kit import Suppression, some_boxes

CLASSES = 3


def _columns(points: int, seed: int) -> list[Any]:
    made = np.random.default_rng(seed).random((CLASSES, points), dtype=np.float32)
    return [made, np.zeros(points, np.float32), np.zeros(points, np.int32)]


def _rows(points: int, seed: int) -> list[Any]:
    made = np.random.default_rng(seed).random((points, 5 + CLASSES), dtype=np.float32)
    return [made, 5, 4, 0.3, np.zeros(points, np.float32), np.zeros(points, np.int32)]


def _gathering(points: int, seed: int) -> tuple[list[Any], list[Any]]:
    """Scores of three classes, rows, and where candidates go."""
    flat = np.random.default_rng(seed).normal(size=points * CLASSES).astype(np.float32) * 3
    layout = np.array([0, CLASSES, 1, CLASSES, 1, -1])
    room = np.zeros(points * CLASSES, np.float32), np.zeros(points * CLASSES, np.int64), np.zeros(3, np.int64)
    return [flat, layout], [*room]


def _gather_best(points: int, seed: int) -> list[Any]:
    given, room = _gathering(points, seed)
    scored = given[0].reshape(points, CLASSES)[:, 1:]
    best = [scored.max(axis=1), scored.argmax(axis=1).astype(np.int32)]
    return [*given, *best, scores.ACTIVATIONS["sigmoid" if points % 2 else "softmax"], 0.2, *room]


def _gather_all(points: int, seed: int) -> list[Any]:
    given, room = _gathering(points, seed)
    return [*given, points, scores.ACTIVATIONS["softmax" if points % 2 else "sigmoid"], 0.2, *room]


def _order(points: int, seed: int) -> list[Any]:
    kept = np.random.default_rng(seed).random(points, dtype=np.float32).round(1) + np.float32(0.1)
    room = np.zeros(points, np.int64), np.zeros(points, np.int64), np.zeros(256, np.int64)
    return [kept.view(np.uint32), np.array([points, 0, 0]), *room]


def _decode(points: int, seed: int) -> list[Any]:
    random = np.random.default_rng(seed)
    flat, anchors = (random.random(size=(points, 4), dtype=np.float32) for _ in range(2))
    layout = np.array([decode.HEADS["ssd"], 4, 1, CLASSES, 1, points])
    found = [random.random(points, dtype=np.float32), random.integers(0, points * CLASSES, points)]
    room = np.zeros((4, points), np.float32), np.zeros(points, np.float32), np.zeros(points, np.int32)
    factors = np.array([0.1, 0.1, 0.2, 0.2, 320.0, 240.0])
    return [flat.reshape(-1), layout, anchors, factors, *found, np.arange(points), np.array([points, 0, 0]), *room]


def _group(points: int, seed: int) -> list[Any]:
    classes = np.random.default_rng(seed).integers(0, CLASSES, points).astype(np.int32)
    return [classes, np.array([0, points, 0]), points % 2, np.zeros(points, np.int64), np.zeros(CLASSES + 1, np.int64)]


def _suppress(points: int, seed: int) -> list[Any]:
    return Suppression(*some_boxes(points, seed), classes=CLASSES, outside=[*range(0, points, 3)]).arguments(0.4, 2)


def _mark(points: int, seed: int) -> list[Any]:
    boxes, _ = some_boxes(points, seed)
    geometry = np.array([0.5, 0.25, 20.0, 10.0, 60.0, 80.0])
    return [boxes, np.array([0, points, 0]), geometry, np.ones(points, np.int32)]


def _place(points: int, seed: int) -> list[Any]:
    boxes, classes = some_boxes(points, seed)
    random = np.random.default_rng(seed)
    gone, geometry = random.integers(0, 3, points).astype(np.int32), np.array([0.5, 0.25, 3.0, 0.0, 90.0, 80.0])
    room = np.zeros((points, 4)), np.zeros(points), np.zeros(points, np.int64)
    return [boxes, random.random(points, dtype=np.float32), classes, gone, geometry, np.array([0, points, 0]), *room]


def _planes(points: int, seed: int) -> list[Any]:
    made = np.random.default_rng(seed).random((CLASSES, points), dtype=np.float32)
    return [made, np.zeros(16, np.float32), np.zeros(16, np.int32), np.zeros(points, np.uint8)]


def _pixels(points: int, seed: int) -> list[Any]:
    return [np.random.default_rng(seed).random((points, CLASSES), dtype=np.float32), np.zeros(points, np.uint8)]


def _nearest(points: int, seed: int) -> list[Any]:
    random = np.random.default_rng(seed)
    mask, rows = random.integers(0, 255, (points, points)).astype(np.uint8), random.integers(0, points, 7)
    return [mask, rows, random.integers(0, points, 2 * points), np.zeros((7, 2 * points), np.uint8)]


def _counts(points: int, seed: int) -> list[Any]:
    mask = np.random.default_rng(seed).integers(0, 255, points).astype(np.uint8)
    return [mask, np.zeros((4, 256), np.int64), np.zeros(256, np.int64)]


MADE: dict[str, Callable[[int, int], list[Any]]] = {
    "argmax_pixels": _pixels,
    "argmax_planes": _planes,
    "best_of_columns": _columns,
    "best_of_rows": _rows,
    "count_classes": _counts,
    "decode_boxes": _decode,
    "gather_all": _gather_all,
    "gather_best": _gather_best,
    "group_by_class": _group,
    "mark_outside": _mark,
    "order_by_score": _order,
    "pick_nearest": _nearest,
    "place_boxes": _place,
    "suppress": _suppress,
}
"""Kernel -> (points, seed) -> arguments that fit together."""
