"""Pictures in numpy: placement, resizing, colours, scale, layout.

Bilinear resizing is in the same whole numbers as on devices, so that it gives the same bits; areas and antialias are
sums with exact weights, from which the devices' 14-bit weights differ by at most one level. Leaves out: files (JPEG,
PNG), which a set of queries cannot hold.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from controller.errors import UnusableData
from controller.models.preprocess.normalise import Array
from wire.spec import ImagePre

Bytes = NDArray[np.uint8]
Whole = NDArray[np.int64]
Doubles = NDArray[np.float64]
Axis = tuple[int, int, int, int]
"""One axis of a placement: source edge, its new length, the first new pixel that is kept, how many are."""

GREY_WEIGHTS = (9798, 19235, 3735)
"""0.299, 0.587 and 0.114 in 15 bits."""


def prepare_image(pre: ImagePre, queries: NDArray[Any]) -> Array:
    """Return model inputs for pictures of one size, shape (n, rows, columns) or (n, rows, columns, 1, 3 or 4).

    Raises:
        UnusableData: No such pictures.
    """
    fits = queries.ndim == 3 or (queries.ndim == 4 and queries.shape[3] in (1, 3, 4))
    if queries.dtype not in (np.uint8, np.uint16) or not fits or 0 in queries.shape:
        raise UnusableData(
            "pictures are uint8 or uint16 of shape (n, rows, columns) or (n, rows, columns, 1, 3 or 4), "
            f"got {queries.dtype} of shape {queries.shape}"
        )
    pixels = (queries >> 8 if queries.dtype == np.uint16 else queries).astype(np.uint8)
    pixels = pixels.reshape(*pixels.shape[:3], -1)[..., :3]
    return np.stack([_prepared(pre, picture) for picture in pixels])


def _prepared(pre: ImagePre, picture: Bytes) -> Array:
    along_rows, along_columns = placement(pre, *picture.shape[:2])
    colours = _colours(pre, _resized(pre, picture, along_rows, along_columns))
    whole = np.full((pre.height, pre.width, pre.channels), pre.pad_value, dtype=np.float32)
    top, left = (pre.height - along_rows[3]) // 2, (pre.width - along_columns[3]) // 2
    whole[top : top + along_rows[3], left : left + along_columns[3]] = colours
    factor = np.array(pre.scale / np.array(pre.deviation), dtype=np.float32)
    offset = np.array(-np.array(pre.mean) / np.array(pre.deviation), dtype=np.float32)
    values = whole * factor + offset
    return np.ascontiguousarray(values.transpose(2, 0, 1) if pre.layout == "NCHW" else values).reshape(pre.axes)


def placement(pre: ImagePre, rows: int, columns: int) -> tuple[Axis, Axis]:
    """Return how a picture of this size is laid into the model's input, along its rows and along its columns."""
    if pre.fit == "stretch":
        return (rows, pre.height, 0, pre.height), (columns, pre.width, 0, pre.width)
    if pre.fit == "letterbox":
        ratio = min(pre.height / rows, pre.width / columns)
        height, width = max(round(rows * ratio), 1), max(round(columns * ratio), 1)
        return (rows, height, 0, height), (columns, width, 0, width)
    edge, shorter = pre.short_edge or 0, min(rows, columns)
    height, width = edge * rows // shorter, edge * columns // shorter
    return (
        (rows, height, round((height - pre.height) / 2), pre.height),
        (columns, width, round((width - pre.width) / 2), pre.width),
    )


def _colours(pre: ImagePre, picture: Bytes) -> Bytes:
    if picture.shape[2] == 1:
        return np.repeat(picture, pre.channels, axis=2)
    upright = picture if pre.query_colour == "rgb" else picture[:, :, ::-1]
    if pre.colour == "grey":
        grey = (upright.astype(np.int64) @ np.array(GREY_WEIGHTS) + (1 << 14)) >> 15
        return np.asarray(grey[..., np.newaxis], dtype=np.uint8)
    ordered: Bytes = upright if pre.colour == "rgb" else upright[:, :, ::-1]
    return ordered


def _resized(pre: ImagePre, picture: Bytes, rows: Axis, columns: Axis) -> Bytes:
    if pre.interpolation == "nearest" or (rows[0] == rows[1] and columns[0] == columns[1]):
        taken: Bytes = picture[_nearest(rows)][:, _nearest(columns)]
        return taken
    if pre.antialias or pre.interpolation == "area":
        weigh = _triangles if pre.antialias else _areas
        sums = np.einsum("yr,rcp,xc->yxp", weigh(rows), picture.astype(np.float64), weigh(columns))
        return np.asarray(np.floor(sums + 0.5).clip(0, 255), dtype=np.uint8)
    return _bilinear(picture, rows, columns)


def _nearest(axis: Axis) -> Whole:
    source, new, first, kept = axis
    return (2 * np.arange(first, first + kept) + 1) * source // (2 * new)


def _areas(axis: Axis) -> Doubles:
    """Return how much of each new pixel every source pixel covers, shape (kept, source)."""
    source, new, first, kept = axis
    start = np.arange(first, first + kept)[:, np.newaxis] * source / new
    pixel = np.arange(source)
    covered = np.minimum(pixel + 1, start + source / new) - np.maximum(pixel, start)
    weights: Doubles = covered.clip(0) / covered.clip(0).sum(axis=1, keepdims=True)
    return weights


def _triangles(axis: Axis) -> Doubles:
    """Return the weights of a triangle as wide as Pillow's, shape (kept, source)."""
    source, new, first, kept = axis
    centre = (np.arange(first, first + kept)[:, np.newaxis] + 0.5) * source / new
    weights = (1 - np.abs(np.arange(source) + 0.5 - centre) / max(source / new, 1)).clip(0)
    normal: Doubles = weights / weights.sum(axis=1, keepdims=True)
    return normal


def _bilinear(picture: Bytes, rows: Axis, columns: Axis) -> Bytes:
    """Return OpenCV's INTER_LINEAR: 11-bit weights, cut to 15 bits between columns and rows."""
    left, right, left_weight, right_weight = _neighbours(columns)
    upper, lower, upper_weight, lower_weight = _neighbours(rows)
    exact = picture.astype(np.int64)
    across = exact[:, left] * left_weight[:, np.newaxis] + exact[:, right] * right_weight[:, np.newaxis]
    across >>= 4
    above = across[upper] * upper_weight[:, np.newaxis, np.newaxis] >> 16
    below = across[lower] * lower_weight[:, np.newaxis, np.newaxis] >> 16
    return (above + below + 2 >> 2).astype(np.uint8)


def _neighbours(axis: Axis) -> tuple[Whole, Whole, Whole, Whole]:
    source, new, first, kept = axis
    position = ((np.arange(first, first + kept) + 0.5) * (1.0 / (new / source)) - 0.5).astype(np.float32)
    left = np.floor(position).astype(np.int64)
    share = position - left.astype(np.float32)
    right_weight = np.rint(share * np.float32(2048)).astype(np.int64)
    left_weight = np.rint((np.float32(1) - share) * np.float32(2048)).astype(np.int64)
    return left.clip(0, source - 1), (left + 1).clip(0, source - 1), left_weight, right_weight
