"""Scores per pixel into a map of classes, at the output's size or at the query's.

The query's size is reached by the nearest cell: the middle of a query's pixel is brought through the picture's geometry
into the output. Leaves out: the arithmetic (`kernels/boxes/masks.py`).
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.errors import BadBundle
from agent.inference.kernels.boxes import masks
from agent.inference.kernels.boxes.suppress import COLUMNS, OFFSET_X, OFFSET_Y, ROWS, SCALE_X, SCALE_Y
from agent.inference.kernels.compiled import Bound, Kernel
from agent.inference.post.base import Answer, Doubles, Floats, Outputs, Reader, Surroundings
from wire import spec
from wire.spec.heads import MOST_MAP_CLASSES, known, map_sizes

BLOCK_PIXELS = 4096
"""Of these, best scores and classes stay in the first cache while all classes are looked through."""


class Segmentation:
    """The map of a query."""

    def __init__(self, post: spec.SegmentationPost, surroundings: Surroundings) -> None:
        if post.resize == "query" and surroundings.geometry is None:
            raise BadBundle("`resize: query` needs the size of a picture: the pre-processing is of another kind")
        self._post = post
        self._reader = Reader(post.output)
        self._planes = post.layout == "NCHW"
        self._resizing = _Resizing(surroundings.geometry) if surroundings.geometry is not None else None
        if post.resize == "none":
            self._resizing = None
        self._shape: tuple[int, ...] = ()
        self._flat: Floats | None = None
        if known([post.output.shape]):
            self._sizes(post.output.shape)
        self.readers = self._reader.readers
        self.kernels: tuple[Kernel[..., Any], ...] = (
            *self.readers,
            masks.argmax_planes if self._planes else masks.argmax_pixels,
            *((masks.pick_nearest,) if self._resizing else ()),
            masks.count_classes,
        )

    def dequantise(self, outputs: Outputs) -> Floats:
        return self._reader.view(outputs[0])

    def finish(self, outputs: Outputs) -> Answer:
        flat = self._reader.view(outputs[0])
        if outputs[0].shape != self._shape:
            self._allocate(outputs[0].shape)
        if flat is not self._flat:
            self._bind(flat)
        self._argmax()
        mask = self._mask if self._resizing is None else self._resizing.resized(self._mask)
        return self._answer(mask.copy())

    def _answer(self, mask: NDArray[np.uint8]) -> Answer:
        masks.count_classes(mask.reshape(-1), self._spare, self._counts)
        found = np.flatnonzero(self._counts)
        classes = tuple(sorted(found.tolist(), key=lambda number: -self._counts[number]))
        labels = tuple(self._post.labels[number] for number in classes) if self._post.labels else ()
        shares = tuple((self._counts[list(classes)] / mask.size).tolist())
        return Answer(shares, classes, labels, mask=mask)

    def _sizes(self, shape: tuple[int, ...]) -> tuple[int, int, int]:
        """Return classes, rows and columns of an output.

        Raises:
            BadBundle: It is none of this layout.
        """
        try:
            return map_sizes(self._post, shape)
        except ValueError as exc:
            raise BadBundle(str(exc)) from exc

    def _allocate(self, shape: tuple[int, ...]) -> None:
        self._classes, rows, columns = self._sizes(shape)
        self._shape, self._flat = shape, None
        self._mask = np.zeros((rows, columns), dtype=np.uint8)
        block = min(BLOCK_PIXELS, self._mask.size)
        self._room = np.zeros(block, dtype=np.float32), np.zeros(block, dtype=np.int32)
        self._spare, self._counts = np.zeros((4, MOST_MAP_CLASSES), np.int64), np.zeros(MOST_MAP_CLASSES, np.int64)

    def _bind(self, flat: Floats) -> None:
        self._flat = flat
        out = self._mask.reshape(-1)
        if self._planes:
            self._argmax: Bound[None] = masks.argmax_planes.bind(flat.reshape(self._classes, -1), *self._room, out)
        else:
            self._argmax = masks.argmax_pixels.bind(flat.reshape(-1, self._classes), out)


class _Resizing:
    """The map at the query's size; tables and buffer are kept while queries have the same geometry."""

    def __init__(self, geometry: Doubles) -> None:
        self._geometry = geometry
        self._model_columns, self._model_rows = float(geometry[COLUMNS]), float(geometry[ROWS])
        self._made_for: tuple[float, ...] = ()

    def resized(self, mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the map at the size of the last query, in a buffer that the next call overwrites."""
        wanted = (*mask.shape, *self._geometry.tolist())
        if wanted != self._made_for:
            self._make(mask)
            self._made_for = wanted
        self._pick()
        return self._out

    def _make(self, mask: NDArray[np.uint8]) -> None:
        given, (rows, columns) = self._geometry, mask.shape
        self._out = np.zeros((int(given[ROWS]), int(given[COLUMNS])), dtype=np.uint8)
        down = _cells(self._out.shape[0], given[SCALE_Y], given[OFFSET_Y], rows / self._model_rows, rows)
        across = _cells(self._out.shape[1], given[SCALE_X], given[OFFSET_X], columns / self._model_columns, columns)
        self._pick: Callable[[], None] = masks.pick_nearest.bind(mask, down, across, self._out)


def _cells(size: int, scale: float, offset: float, cells_each: float, cells: int) -> NDArray[np.int64]:
    """Return the output's cell at each of the query's pixels, along one axis."""
    middle = (np.arange(size) + 0.5) * scale + offset
    return np.asarray(np.clip(np.floor(middle * cells_each), 0, cells - 1), dtype=np.int64)
