"""What detection must give, in plain numpy, and boxes to try it on."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.inference.kernels.boxes.order import group_by_class
from agent.inference.kernels.boxes.suppress import OUTSIDE, single_below, suppress
from agent.inference.post import Answer, Surroundings, make_post
from wire import spec

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]
Doubles = NDArray[np.float64]
NOWHERE = (1.0, 1.0, 0.0, 0.0, 0.0, 0.0)
"""Geometry of a query that is no picture."""
LETTERBOX = np.array([0.5, 0.5, 0.0, 140.0, 1280.0, 720.0])
"""720p in 640 x 640: half the size, 140 rows of padding above and below."""


def some_boxes(count: int, seed: int, spread: float = 60.0, largest: float = 40.0) -> tuple[Floats, Ints]:
    """Return boxes (4, count) and their classes, of three."""
    random = np.random.default_rng(seed)
    corners = random.uniform(0, spread, (2, count))
    boxes = np.concatenate([corners, corners + random.uniform(1, largest, (2, count))]).astype(np.float32)
    return boxes, random.integers(0, 3, count).astype(np.int32)


@dataclass
class Suppression:
    """Boxes (4, n), best first, with their classes: what the kernel says of them."""

    boxes: Floats
    chosen_classes: Ints
    classes: int = 3
    agnostic: bool = False
    outside: list[int] = field(default_factory=list)

    def arguments(self, threshold: float, most: int) -> list[Any]:
        count = self.boxes.shape[1]
        counters = np.array([0, count, 0])
        group, starts = np.zeros(count, np.int64), np.zeros(self.classes + 1, np.int64)
        group_by_class(self.chosen_classes, counters, int(self.agnostic), group, starts)
        room = np.zeros((5, count), np.float32), np.zeros(count, np.int32), np.zeros(count, np.int32)
        room[-1][self.outside] = OUTSIDE
        return [self.boxes, counters, group, starts, single_below(threshold), most, *room]

    def kept(self, threshold: float, most: int = 10_000) -> list[int]:
        given = self.arguments(threshold, most)
        suppress(*given)
        return [rank for rank in range(self.boxes.shape[1]) if not given[-1][rank]][:most]


def placed_by_numpy(boxes: Floats, geometry: Any) -> tuple[Doubles, NDArray[np.bool_]]:
    """Return boxes (4, n) in the query's pixels, shape (n, 4), cut at its edges; and which of them it shows."""
    scale, offset, edges = (np.tile(pair, 2) for pair in np.reshape(geometry, (3, 2)))
    corners = (boxes.T.astype(np.float64) - offset) / scale
    if not edges.all():
        return corners, np.ones(len(corners), dtype=bool)
    corners = np.clip(corners, 0, edges)
    return corners, (corners[:, 2] > corners[:, 0]) & (corners[:, 3] > corners[:, 1])


def overlap(one: Floats, other: Floats) -> np.float32:
    """Intersection over union of two boxes, step by step in float32."""
    wide = max(min(one[2], other[2]) - max(one[0], other[0]), np.float32(0))
    tall = max(min(one[3], other[3]) - max(one[1], other[1]), np.float32(0))
    areas = (one[2] - one[0]) * (one[3] - one[1]), (other[2] - other[0]) * (other[3] - other[1])
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.float32(wide * tall / (areas[0] + areas[1] - wide * tall))


def kept_by_numpy(boxes: Floats, classes: Ints, threshold: float, agnostic: bool = False) -> list[int]:
    """The rule, word by word: boxes (4, n) come best first; a better one of the class that stays strikes out."""
    kept: list[int] = []
    for rank in range(boxes.shape[1]):
        rivals = [other for other in kept if agnostic or classes[other] == classes[rank]]
        if not any(float(overlap(boxes[:, other], boxes[:, rank])) > threshold for other in rivals):
            kept.append(rank)
    return kept


def tensor(name: str, *shape: int) -> spec.TensorSpec:
    return spec.TensorSpec(name=name, shape=shape)


def yolo(raw: Floats, geometry: Any = None, **fields: Any) -> Answer:
    """Answer one output; its shape is the specification's."""
    post = spec.DetectionPost(output=tensor("head", *raw.shape), **fields)
    return make_post(post, Surroundings(geometry=geometry)).finish([raw])
