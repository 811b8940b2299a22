"""Scores of pixels into a map of classes, at the output's size or at the query's."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from controller.models.postprocess.geometry import geometry_of
from wire.spec import ImagePre, PreSpec, SegmentationPost
from wire.spec.heads import map_sizes

Maps = NDArray[np.int16]


def class_maps(
    outputs: NDArray[Any], post: SegmentationPost, pre: PreSpec, size: tuple[int, ...], query: tuple[int, ...]
) -> tuple[Maps, int]:
    """Return the class of each pixel at the size that masks have, and the number of classes.

    Args:
        outputs: Scores, shape (n, …) in the layout of `post`.
        post: Of the pipeline.
        pre: Of the pipeline.
        size: Rows and columns that are wanted: the output's own, or the query's, which the map is brought to as
            devices do.
        query: Shape of a query.
    Returns:
        Shape (n, *size).
    Raises:
        ValueError: The outputs are no maps, or another size is wanted.
    """
    classes, rows, columns = map_sizes(post, outputs.shape)
    axis = 0 if post.layout == "NCHW" else 2
    maps = np.stack([_best(each, axis) for each in outputs])  # one by one: scores are many times larger than maps
    if size == (rows, columns):
        return maps, classes
    if not isinstance(pre, ImagePre) or size != query[:2]:
        pictures = f", or the pictures' {query[:2]}" if isinstance(pre, ImagePre) else ""
        raise ValueError(f"masks are {size}; they must have the size of the model's maps, {(rows, columns)}{pictures}")
    geometry = geometry_of(pre, size)
    down = _cells(size[0], geometry.scale[1], geometry.offset[1], rows / geometry.model[1], rows)
    across = _cells(size[1], geometry.scale[0], geometry.offset[0], columns / geometry.model[0], columns)
    return maps[:, down][:, :, across], classes


def _best(scores: NDArray[Any], axis: int) -> Maps:
    return np.asarray(np.where(np.isnan(scores), -np.inf, scores).argmax(axis=axis), dtype=np.int16)


def _cells(size: int, scale: float, offset: float, cells_each: float, cells: int) -> NDArray[np.int64]:
    """Return the map's cell at the middle of each of the query's pixels, along one axis."""
    middle = (np.arange(size) + 0.5) * scale + offset
    return np.asarray(np.clip(np.floor(middle * cells_each), 0, cells - 1), dtype=np.int64)
