"""What whole detection heads must give, in plain numpy, and how an answer is compared with it."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.inference.post import Answer
from tests.unit.agent.inference.post.box_kit import NOWHERE, kept_by_numpy, placed_by_numpy
from wire import spec

Floats = NDArray[np.float32]


def sigmoid(values: Floats) -> NDArray[np.float64]:
    return np.asarray(1 / (1 + np.exp(-values.astype(np.float64))))


def softmax(values: Floats) -> NDArray[np.float64]:
    values = np.where(np.isnan(values), -np.inf, values)
    powers = np.exp(values.astype(np.float64) - values.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


ACTIVATIONS: dict[str, Any] = {"none": lambda values: values.astype(np.float64), "sigmoid": sigmoid, "softmax": softmax}


def boxes_by_numpy(
    corners: Floats, scores: Floats, post: spec.DetectionPost, geometry: tuple[float, ...] = NOWHERE
) -> Answer:
    """The rule, word by word: corners (anchors, 4) in the model's pixels, scores (anchors, classes) activated."""
    first, threshold = int(post.background), np.float32(post.score_threshold)
    numbers = range(first, scores.shape[1])
    found = []
    for anchor, row in enumerate(np.where(np.isnan(scores), -np.inf, scores).astype(np.float32)):
        best = first + int(np.argmax(row[first:]))
        found += [(row[n], anchor, n) for n in (numbers if post.multi_label else [best]) if row[n] > threshold]
    found.sort(key=lambda each: -each[0])  # stable
    found = found[: post.most_candidates]
    boxes = np.array([corners[anchor] for _, anchor, _ in found], dtype=np.float32).reshape(-1, 4).T
    classes = np.array([number for *_, number in found], dtype=np.int32)
    placed, shown = placed_by_numpy(boxes, geometry)
    kept = [rank for rank in kept_by_numpy(boxes, classes, post.iou_threshold, post.class_agnostic) if shown[rank]]
    kept = kept[: post.most]
    values = tuple(float(found[rank][0]) for rank in kept)
    return Answer(values, tuple(int(classes[rank]) for rank in kept), (), tuple(map(tuple, placed[kept].tolist())))


def corners_of(boxes: Floats) -> Floats:
    wide = boxes.astype(np.float64)
    half = wide[:, 2:] / 2
    return np.hstack([wide[:, :2] - half, wide[:, :2] + half]).astype(np.float32)


def same(given: Answer, wanted: Answer) -> None:
    assert given.classes == wanted.classes
    np.testing.assert_allclose(given.values, wanted.values, rtol=1e-6)
    np.testing.assert_allclose(
        np.reshape(given.boxes, (-1, 4)), np.reshape(wanted.boxes, (-1, 4)), rtol=1e-5, atol=1e-4
    )
