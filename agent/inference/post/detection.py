"""A detection head's outputs into boxes: candidates, decoding, suppression, back into the query's pixels.

Decides: buffers and the order of the kernels. Outputs are read where the engine left them, since heads are large: what
reads them is bound anew where an output lies elsewhere than before. Leaves out: the arithmetic (`kernels/boxes/`).
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.errors import BadBundle
from agent.inference.kernels.boxes import decode, order, scores, suppress
from agent.inference.kernels.compiled import Kernel
from agent.inference.post.base import Answer, Doubles, Floats, Outputs, Reader, Surroundings, single
from agent.inference.post.heads import Head, read_head
from wire import spec
from wire.spec.heads import SIDES, known

Step = Callable[[], Any]
NOWHERE = np.array([1.0, 1.0, 0.0, 0.0, 0.0, 0.0])
"""The geometry of a query that is no picture: boxes stay where they are, and have no edges."""


class Detection:
    """The boxes of a query."""

    def __init__(self, post: spec.DetectionPost, surroundings: Surroundings) -> None:
        self._post = post
        tensors = spec.output_tensors(post)
        self._readers = tuple(Reader(tensor) for tensor in tensors)
        self._geometry = NOWHERE if surroundings.geometry is None else surroundings.geometry
        self._anchors = _anchors(post, surroundings.folder)
        self._factors = _factors(post, surroundings.geometry)
        self._shapes: tuple[tuple[int, ...], ...] = ()
        self._flats: list[Floats] = []
        self._reading: list[Step] = []
        shapes = [tensor.shape for tensor in tensors]
        if known(shapes):
            self._fit(read_head(post, shapes))
        by_rows = post.anchors_first or post.head != "yolo"
        best = (scores.best_of_rows if by_rows else scores.best_of_columns, scores.gather_best)
        self.readers = tuple(kernel for reader in self._readers for kernel in reader.readers)
        self.kernels: tuple[Kernel[..., Any], ...] = (
            *self.readers,
            *((scores.gather_all,) if post.multi_label else best),
            order.order_by_score,
            decode.decode_boxes,
            order.group_by_class,
            suppress.mark_outside,
            suppress.suppress,
            suppress.place_boxes,
        )

    def dequantise(self, outputs: Outputs) -> Floats:
        flats = [reader.view(output) for reader, output in zip(self._readers, outputs, strict=True)]
        return flats[0] if len(flats) == 1 else np.concatenate(flats)

    def finish(self, outputs: Outputs) -> Answer:
        flats = [reader.view(output) for reader, output in zip(self._readers, outputs, strict=True)]
        shapes = tuple(output.shape for output in outputs)
        if shapes != self._shapes:
            self._allocate(read_head(self._post, shapes))
            self._shapes, self._flats = shapes, []
        if len(self._flats) != len(flats) or any(old is not new for old, new in zip(self._flats, flats, strict=True)):
            self._bind(flats)
        for step in self._reading:
            step()
        return self._answer()

    def _answer(self) -> Answer:
        found = int(self._counters[order.CHOSEN])
        classes = tuple(self._placed_classes[:found].tolist())
        labels = tuple(self._post.labels[number] for number in classes) if self._post.labels else ()
        boxes = tuple(map(tuple, self._placed[:found].tolist()))
        return Answer(tuple(self._placed_scores[:found].tolist()), classes, labels, boxes)

    # --- buffers --------------------------------------------------------------------------------------------------

    def _fit(self, head: Head) -> None:
        """Refuse an anchors' file of another number of anchors."""
        if self._post.head == "ssd" and self._anchors.shape != (head.anchors, SIDES):
            raise BadBundle(
                f"{self._post.anchors_file} has shape {self._anchors.shape}: the model has {head.anchors} anchors, "
                f"so ({head.anchors}, {SIDES}) is wanted"
            )

    def _allocate(self, head: Head) -> None:
        self._fit(head)
        post, self._head = self._post, head
        candidates = head.anchors * (head.classes if post.multi_label else 1)
        most = min(candidates, post.most_candidates)
        self._counters = np.zeros(3, dtype=np.int64)
        self._score_layout = np.array(head.score_layout, dtype=np.int64)
        self._box_layout = np.array(head.box_layout, dtype=np.int64)
        self._best = np.zeros(head.anchors, dtype=np.float32)
        self._best_classes = np.zeros(head.anchors, dtype=np.int32)
        self._kept = np.zeros(candidates, dtype=np.float32)
        self._candidates, self._order, spare = (np.zeros(candidates, dtype=np.int64) for _ in range(3))
        self._boxes = np.zeros((SIDES, most), dtype=np.float32)
        self._scores = np.zeros(most, dtype=np.float32)
        self._classes = np.zeros(most, dtype=np.int32)
        self._sort = order.order_by_score.bind(
            self._kept.view(np.uint32), self._counters, self._order, spare, np.zeros(256, dtype=np.int64)
        )
        self._suppressing = self._suppression(head, most)

    def _suppression(self, head: Head, most: int) -> list[Step]:
        """Return what needs the boxes alone, and keeps its buffers whatever the engine does."""
        post = self._post
        group, starts = np.zeros(most, dtype=np.int64), np.zeros(head.classes + 1, dtype=np.int64)
        sides, dead, gone = np.zeros((5, most), np.float32), np.zeros(most, np.int32), np.zeros(most, np.int32)
        self._placed = np.zeros((min(post.most, most), SIDES))
        self._placed_scores = np.zeros(len(self._placed))
        self._placed_classes = np.zeros(len(self._placed), dtype=np.int64)
        limit = suppress.single_below(post.iou_threshold)
        placed = (self._placed, self._placed_scores, self._placed_classes)
        return [
            order.group_by_class.bind(self._classes, self._counters, int(post.class_agnostic), group, starts),
            suppress.mark_outside.bind(self._boxes, self._counters, self._geometry, gone),
            suppress.suppress.bind(
                self._boxes, self._counters, group, starts, limit, len(self._placed), sides, dead, gone
            ),
            suppress.place_boxes.bind(
                self._boxes, self._scores, self._classes, gone, self._geometry, self._counters, *placed
            ),
        ]

    # --- what reads the engine's outputs --------------------------------------------------------------------------

    def _bind(self, flats: list[Floats]) -> None:
        self._flats = flats
        decoding = decode.decode_boxes.bind(
            flats[0],
            self._box_layout,
            self._anchors,
            self._factors,
            self._kept,
            self._candidates,
            self._order,
            self._counters,
            self._boxes,
            self._scores,
            self._classes,
        )
        self._reading = [*self._gathering(flats[-1]), self._sort, decoding, *self._suppressing]

    def _gathering(self, flat: Floats) -> list[Step]:
        post, head, layout = self._post, self._head, self._score_layout
        kept, places, counters = self._kept, self._candidates, self._counters
        activation, threshold = scores.ACTIVATIONS[post.activation], single(post.score_threshold)
        if post.multi_label:
            every = (flat, layout, head.anchors, activation, threshold, kept, places, counters)
            return [scores.gather_all.bind(*every)]
        best, classes = self._best, self._best_classes
        first = head.width - head.classes + int(post.background)
        looking: Step
        if head.by_columns:
            looking = scores.best_of_columns.bind(flat.reshape(head.width, head.anchors)[first:], best, classes)
        else:
            gate = SIDES if post.objectness else -1
            rows = flat.reshape(head.anchors, head.width)
            looking = scores.best_of_rows.bind(rows, first, gate, _least(post), best, classes)
        gathering = scores.gather_best.bind(flat, layout, best, classes, activation, threshold, kept, places, counters)
        return [looking, gathering]


def _least(post: spec.DetectionPost) -> float:
    """Return the raw objectness up to which no class can be above the threshold."""
    threshold = single(post.score_threshold)
    if post.activation != "sigmoid" or threshold in (0.0, 1.0):
        return -math.inf if post.activation == "sigmoid" and threshold == 0.0 else threshold
    return math.log(threshold / (1.0 - threshold)) - 1e-6  # the exact comparison comes behind the activation


def _factors(post: spec.DetectionPost, geometry: Doubles | None) -> NDArray[np.float64]:
    unit = post.normalised or post.head == "ssd"
    size = geometry[suppress.COLUMNS :] if unit and geometry is not None else (1.0, 1.0)
    return np.array([*post.variances, *size])


def _anchors(post: spec.DetectionPost, folder: Path | None) -> Floats:
    """Return an SSD head's anchors.

    Raises:
        BadBundle: The file is missing, outside the bundle, or holds no such array.
    """
    if post.anchors_file is None:
        return np.zeros((1, SIDES), dtype=np.float32)
    path = (folder or Path()) / post.anchors_file
    if folder is None or not path.resolve().is_relative_to(folder.resolve()):
        raise BadBundle(f"anchors_file {post.anchors_file!r} is no file of the bundle")
    try:
        found = np.load(path, allow_pickle=False)
        anchors = np.ascontiguousarray(found, dtype=np.float32)
    except (OSError, ValueError, TypeError, EOFError) as exc:
        raise BadBundle(f"anchors_file {post.anchors_file!r} cannot be read: {exc}") from exc
    if anchors.ndim != 2 or anchors.shape[1] != SIDES or not np.isfinite(anchors).all():
        raise BadBundle(f"anchors_file {post.anchors_file!r} has shape {anchors.shape}: finite (anchors, 4) is wanted")
    return anchors
