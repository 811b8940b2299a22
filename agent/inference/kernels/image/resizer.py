"""One way of resizing for pictures of one size: tables, room to work in, and the kernel that uses them.

Pictures that have the size already are copied by the kernel for nearest neighbours, whatever the interpolation.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.inference.kernels.compiled import Kernel
from agent.inference.kernels.image import taps
from agent.inference.kernels.image.bilinear import resize_bilinear
from agent.inference.kernels.image.copied import resize_nearest
from agent.inference.kernels.image.placement import Edge
from agent.inference.kernels.image.weighted import resize_weighted
from wire.spec import ImagePre

Bytes = NDArray[np.uint8]
Edges = tuple[Edge, Edge]
"""Along rows, along columns."""
Fill = Callable[[Bytes], None]
"""Takes the picture's bytes, flat; writes the planes."""


def resizing_kernel(pre: ImagePre) -> Kernel[..., None]:
    """Return the kernel that `pre` asks for."""
    if pre.interpolation == "nearest":
        return resize_nearest
    return resize_weighted if pre.antialias or pre.interpolation == "area" else resize_bilinear


def make_fill(pre: ImagePre, edges: Edges, channels: int, planes: Bytes) -> Fill:
    """Return what resizes pictures of the edges' source size into `planes`.

    Args:
        pre: Says how.
        edges: Placement of a picture.
        channels: Of the picture: 1, 3 or 4.
        planes: Result, shape (1 or 3, kept rows, kept columns).
    """
    unchanged = all(edge.resized == edge.source for edge in edges)
    kernel = resize_nearest if unchanged else resizing_kernel(pre)
    along_rows, along_columns = edges
    if kernel is resize_bilinear and along_columns.source == 1:
        # The kernel reads pairs of columns.
        doubled = kernel.bind_rest(*bilinear_rest((along_rows, replace(along_columns, source=2)), channels, planes))
        return lambda pixels: doubled(np.repeat(pixels.reshape(-1, 1, channels), 2, axis=1).reshape(-1))
    if kernel is resize_bilinear:
        return kernel.bind_rest(*bilinear_rest(edges, channels, planes))
    if kernel is resize_weighted:
        make = taps.antialiased if pre.antialias else taps.area
        return kernel.bind_rest(*weighted_rest((make(along_rows), make(along_columns)), edges, channels, planes))
    return kernel.bind_rest(*nearest_rest(edges, channels, planes))


def nearest_rest(edges: Edges, channels: int, planes: Bytes) -> tuple[Any, ...]:
    """Return what `resize_nearest` takes behind the pixels."""
    along_rows, along_columns = edges
    steps = np.array([along_columns.source * channels])
    return steps, taps.nearest(along_columns) * channels, taps.nearest(along_rows), planes


def bilinear_rest(edges: Edges, channels: int, planes: Bytes) -> tuple[Any, ...]:
    """Return what `resize_bilinear` takes behind the pixels."""
    along_rows, along_columns = edges
    left, right, first, second = taps.bilinear(along_columns)
    # The kernel's right neighbour always lies one to the right: at either end, one of the pair takes all the weight.
    at_start, at_end = (left == right) & (left == 0), (left == right) & (left > 0)
    left = left - at_end
    first, second = (
        np.where(at_start, first + second, np.where(at_end, 0, first)),
        np.where(at_end, first + second, np.where(at_start, 0, second)),
    )
    across = np.stack([left * channels, first, second]).astype(np.int32)
    row_bytes = along_columns.source * channels
    steps = np.array([row_bytes, channels, np.count_nonzero(across[0] + 8 <= row_bytes)])
    down = taps.bilinear(along_rows)
    pairs = np.zeros(along_columns.kept, dtype=np.uint64)
    kept = np.zeros((2, planes.shape[0], along_columns.kept), dtype=np.uint16)
    return steps, across, down[:2], down[2:].astype(np.uint16), pairs, kept, planes


def weighted_rest(tables: tuple[taps.Taps, taps.Taps], edges: Edges, channels: int, planes: Bytes) -> tuple[Any, ...]:
    """Return what `resize_weighted` takes behind the pixels; `tables` are those along rows and columns."""
    down, across = tables
    begin, end = int(across.first.min()), int((across.first + across.count).max())
    room = (end - begin) * channels
    return (
        np.array([edges[1].source * channels, channels, begin * channels]),
        np.stack([(across.first - begin) * channels, across.count]),
        across.weights,
        np.stack([down.first, down.count]),
        down.weights,
        np.zeros(room, dtype=np.uint32),
        np.zeros(room, dtype=np.uint16),
        planes,
    )
