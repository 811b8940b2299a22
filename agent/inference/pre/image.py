"""Pictures: resized into planes of 8 bits, then one pass into the engine's buffer.

Decides: which forms a query may have, and where a picture lies in the model's input (`geometry`). Tables and kernels
are made for each size of picture once, and kept for the last few sizes. Leaves out: decoding files (`picture.py`), the
arithmetic (`agent/inference/kernels/image`).
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.errors import BadBundle, BadQuery
from agent.inference.kernels.compiled import Kernel
from agent.inference.kernels.image.copied import resize_nearest, to_grey
from agent.inference.kernels.image.levels import make_levels
from agent.inference.kernels.image.placement import place_picture
from agent.inference.kernels.image.resizer import Bytes, Edges, Fill, make_fill, resizing_kernel
from agent.inference.pre.base import Array, Doubles, Place
from agent.inference.pre.picture import LARGEST_PIXELS, LONGEST_EDGE, decode_picture
from agent.inference.shapes import query_shape
from wire import spec

SCALE_X, SCALE_Y, OFFSET_X, OFFSET_Y, COLUMNS, ROWS = range(6)
"""Places in `Image.geometry`: model = source * scale + offset, in continuous pixels whose 0 is the outer edge of the
first one; then the source's size. Source is the picture after decoding and turning upright."""

PLANES = {"rgb": (0, 1, 2), "bgr": (2, 1, 0)}
"""Order of a picture's channels -> planes of red, green and blue."""

KEPT_SIZES = 4
"""Sizes of pictures whose tables are kept: sources have one or two, and tables take about 0.2 ms to make."""


@dataclass(frozen=True)
class Way:
    """What is done to pictures of one size."""

    edges: Edges
    fill: Fill
    steps: tuple[Callable[[], None], ...]
    """From planes to the engine's buffer."""


class Image:
    def __init__(self, pre: spec.ImagePre, place: Place) -> None:
        shape = _checked_shape(pre, place)
        array = place.buffer(pre.input, shape)
        self._pre = pre
        self._levels = make_levels(pre)
        self._out = array.reshape(-1)
        self._room = np.zeros(3 * pre.height * pre.width, dtype=np.uint8)
        self._ways: OrderedDict[tuple[Any, ...], Way] = OrderedDict()
        self._current: Way | None = None
        self.feeds: tuple[Array, ...] = (array,)
        grey = (to_grey,) if pre.colour == "grey" else ()
        self.kernels: tuple[Kernel[..., Any], ...] = (
            *dict.fromkeys((resizing_kernel(pre), resize_nearest)),
            *grey,
            self._levels.kernel,
        )
        self.geometry: Doubles = np.array([1.0, 1.0, 0.0, 0.0, pre.width, pre.height])

    def prepare(self, query: NDArray[Any]) -> Array:
        pixels, colour = self._taken(query)
        key = (*pixels.shape, colour)
        way = self._ways.get(key)
        if way is None:
            way = self._ways[key] = self._made(*key)
            if len(self._ways) > KEPT_SIZES:
                self._ways.popitem(last=False)
        if way is not self._current:
            self._settle(way)
        way.fill(pixels.reshape(-1))
        for step in way.steps:
            step()
        return self.feeds[0]

    def _taken(self, query: NDArray[Any]) -> tuple[Bytes, str]:
        """Return the query as contiguous pixels of 8 bits, shape (rows, columns, channels), and their order."""
        if query.ndim == 1 and query.dtype == np.uint8:
            return decode_picture(query)
        axes = query.shape
        fits = len(axes) == 2 or (len(axes) == 3 and axes[2] in (1, 3, 4))
        if query.dtype.kind != "u" or query.dtype.itemsize > 2 or not fits:
            raise BadQuery(
                "expected uint8 or uint16 pixels of shape (rows, columns) or (rows, columns, 1, 3 or 4), or the bytes "
                f"of a JPEG or PNG file as uint8 of shape (n,), given {query.dtype} of shape {axes}"
            )
        if not 0 < axes[0] * axes[1] <= LARGEST_PIXELS:
            raise BadQuery(f"expected a picture of 1 to {LARGEST_PIXELS} pixels, given one of shape {axes}")
        if max(axes) > LONGEST_EDGE:
            raise BadQuery(f"expected edges of at most {LONGEST_EDGE} pixels, given a picture of shape {axes}")
        if query.dtype.itemsize == 2:
            query = (query >> 8).astype(np.uint8)
        return np.ascontiguousarray(query).reshape(*axes[:2], -1), self._pre.query_colour

    def _made(self, rows: int, columns: int, channels: int, colour: str) -> Way:
        """Return the way for pictures of this size."""
        pre = self._pre
        along_rows, along_columns = edges = place_picture(pre, rows, columns)
        size = (along_rows.kept, along_columns.kept)
        count = 1 if channels == 1 else 3
        planes = self._room[: count * size[0] * size[1]].reshape(count, *size)
        order = np.array(PLANES[colour] if count == 3 else (0, 0, 0))
        steps: list[Callable[[], None]] = []
        fill = make_fill(pre, edges, channels, planes)
        if pre.colour == "grey" and count == 3:
            grey = np.zeros((1, *size), dtype=np.uint8)
            steps.append(to_grey.bind(planes, order, grey))
            planes = grey
        order = np.array([0]) if pre.colour == "grey" else order[::-1].copy() if pre.colour == "bgr" else order
        where = self._strides(along_rows.offset, along_columns.offset)
        steps.append(self._levels.bind(planes, order, where, self._out))
        return Way(edges, fill, tuple(steps))

    def _strides(self, row: int, column: int) -> NDArray[np.int64]:
        """Return the first element of the buffer, and those from one channel, row and column to the next."""
        pre = self._pre
        if pre.layout == "NCHW":
            steps = (pre.height * pre.width, pre.width, 1)
        else:
            steps = (1, pre.width * pre.channels, pre.channels)
        return np.array([row * steps[1] + column * steps[2], *steps])

    def _settle(self, way: Way) -> None:
        """Make geometry and padding those of `way`; padding stays until pictures come to lie elsewhere."""
        along_rows, along_columns = way.edges
        pre = self._pre
        if pre.fit == "letterbox":
            planes = pre.layout == "NCHW"
            buffer: Any = self.feeds[0].reshape((pre.channels, -1) if planes else (-1, pre.channels))
            values = self._levels.table[:, pre.pad_value]
            buffer[:] = values[:, np.newaxis] if planes else values
        self.geometry[:] = (
            along_columns.scale, along_rows.scale, along_columns.shift, along_rows.shift,
            along_columns.source, along_rows.source,
        )  # fmt: skip
        self._current = way


def _checked_shape(pre: spec.ImagePre, place: Place) -> tuple[int, ...]:
    """Return the buffer's shape.

    Raises:
        BadBundle: The model takes another one.
    """
    wanted, given = (1, *pre.axes), place.shape(pre.input)
    shape = query_shape(pre.input.shape, given, pre.axes) if len(given) == len(wanted) else given
    if shape != wanted:
        raise BadBundle(
            f"input {pre.input.name!r}: the specification makes {pre.input.dtype} of shape {wanted} ({pre.layout}, "
            f"{pre.colour}), the model takes {shape}"
        )
    return shape
