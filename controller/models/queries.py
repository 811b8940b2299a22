"""Raw queries as arrays: which type they keep, which shape and which values they have, and which can be made up.

Decides: that pictures, sound, text and tensors keep the whole numbers that they come in, since their pre-processing
reads bytes, 16 bits and numbers of classes as such; everything else is float32. And that nothing is taken which devices
refuse. Leaves out: what is done to them (`preprocess/`).
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from controller.errors import UnusableData
from wire.spec import AudioPre, ImagePre, PreSpec, SeriesPre, TablePre, TensorPre, TextPre
from wire.spec.audio import INTEGERS, LOUDEST
from wire.spec.base import LARGEST_AXIS, RANGES

WHOLE_KINDS = ("audio", "image", "text")
"""Kinds of pre-processing that take whole numbers as such."""
WHOLE_TENSORS = ("int32", "int64")
"""Whole numbers that a model may take as they are. Of 8 bits a tensor is real numbers: levels are made on devices."""


def as_queries(queries: Any, kind: str) -> NDArray[Any]:
    """Return queries, stacked, as the pre-processing of this kind takes them.

    Raises:
        ValueError: Not numbers of one shape.
    """
    array = np.asarray(queries)
    if array.dtype.kind not in "fiubO":
        raise ValueError(f"expected numbers, given dtype {array.dtype}")
    whole = kind in WHOLE_KINDS and array.dtype.kind in "iub"
    whole = whole or (kind == "tensor" and array.dtype.name in WHOLE_TENSORS)
    with np.errstate(over="ignore"):  # what float32 does not hold becomes infinite, and is refused as such
        return np.ascontiguousarray(array, dtype=array.dtype if whole else np.float32)


def check_queries(queries: NDArray[Any], pre: PreSpec, where: str) -> None:
    """Refuse queries of a type or shape that the pipeline does not take.

    Raises:
        UnusableData: Expected and given type or shape are named.
    """
    if isinstance(pre, ImagePre):
        fits = queries.dtype in (np.uint8, np.uint16) and _is_pictures(queries.shape)
        if not fits:
            raise UnusableData(
                f"{where}: inputs are {queries.dtype} of shape {queries.shape}; pictures are uint8 or uint16, "
                "(n, rows, columns) with 1, 3 or 4 channels behind, or none"
            )
        return
    _check_type(queries, pre, where)
    want, have = _wanted(pre), _axes(queries.shape[1:], pre)
    if len(have) != len(want) or any(size not in sizes for size, sizes in zip(have, want, strict=True)):
        asked = ", ".join(str(sizes[0]) if len(sizes) == 1 else f"{sizes[0]} or more" for sizes in want)
        raise UnusableData(f"{where}: inputs have shape {queries.shape}, the model takes (n, {asked})")


def check_values(queries: NDArray[Any], pre: PreSpec, where: str) -> None:
    """Refuse queries of a fitting shape whose values the pipeline does not take.

    Raises:
        UnusableData: The first sample that holds such a value, and what to do.
    """
    match pre:
        case SeriesPre() | TablePre() if pre.nan != "error":
            _refuse(~np.isinf(queries), where, "holds infinite values; a missing value is NaN")
            if isinstance(pre, SeriesPre) and pre.nan != "zero":
                there = ~np.isnan(queries).all(axis=-1)
                _refuse(there, where, f"has a channel without any value, of which pre.nan: {pre.nan} makes none")
        case SeriesPre() | TablePre():
            why = "holds NaN or infinite values; clean it, or set pre.nan in model.yaml"
            _refuse(np.isfinite(queries), where, why)
        case AudioPre():
            with np.errstate(over="ignore"):
                level = np.abs(queries * np.float32(pre.full_scale)) if queries.dtype.kind == "f" else np.zeros(1)
            _refuse(level <= LOUDEST, where, f"holds NaN, infinite or too loud values (beyond {LOUDEST:g}); clean it")
        case TextPre():
            fits = (queries >= 0) & (queries <= 255) & (queries == np.floor(queries))
            _refuse(fits, where, "is no text's bytes, which are whole numbers from 0 to 255")
        case TensorPre():
            _check_tensor(queries, pre, where)
        case ImagePre():
            pass  # of 8 or 16 bits, all of which are levels


def _check_type(queries: NDArray[Any], pre: PreSpec, where: str) -> None:
    dtype = queries.dtype
    if isinstance(pre, AudioPre) and dtype.kind != "f" and dtype.name not in INTEGERS:
        raise UnusableData(f"{where}: inputs are {dtype}; sound is of floats, {', '.join(INTEGERS)}")
    if isinstance(pre, TextPre) and dtype.kind not in "fiu":
        raise UnusableData(f"{where}: inputs are {dtype}; text is its UTF-8 bytes, best as uint8")


def _check_tensor(queries: NDArray[Any], pre: TensorPre, where: str) -> None:
    _refuse(np.isfinite(queries), where, "holds NaN or infinite values; clean it")
    if pre.input.dtype in WHOLE_TENSORS:
        least, largest = RANGES[pre.input.dtype]
        # 2^31 and 2^63 are numbers of float32, their neighbours below are none: what is less than them fits.
        within = (queries >= least) & ((queries <= largest) if queries.dtype.kind != "f" else (queries < largest + 1))
        why = f"does not fit the model's {pre.input.dtype}: whole numbers from {least} to {largest} do"
        _refuse(within & (queries == np.floor(queries)), where, why)


def _refuse(fits: NDArray[np.bool_], where: str, why: str) -> None:
    if not fits.all():
        row = int(np.flatnonzero(~fits.reshape(len(fits), -1).all(axis=1))[0])
        raise UnusableData(f"{where}: sample {row} {why}")


def _is_pictures(shape: tuple[int, ...]) -> bool:
    return 0 not in shape and (len(shape) == 3 or (len(shape) == 4 and shape[3] in (1, 3, 4)))


def _axes(have: tuple[int, ...], pre: PreSpec) -> tuple[int, ...]:
    """Return the shape of one query; of sound without its axis of one channel."""
    return (math.prod(have),) if isinstance(pre, AudioPre) and len(have) == 2 and 1 in have else have


def _wanted(pre: PreSpec) -> tuple[range, ...]:
    """Return the sizes that each axis of one query may have."""
    if isinstance(pre, SeriesPre):
        points = pre.length + pre.difference
        lengths = {"error": _exactly(points), "linear": _from(1), "stream": _from(points)}
        return (_exactly(pre.channels), lengths[pre.resize])
    if isinstance(pre, TablePre):
        return (_exactly(pre.features),)
    if isinstance(pre, AudioPre):
        return (_exactly(pre.samples) if pre.resize == "error" else _from(1),)
    if isinstance(pre, TextPre):
        return (_from(1),)
    return tuple(_from(1) if axis < 0 else _exactly(axis) for axis in pre.input.shape[1:])


def _exactly(size: int) -> range:
    return range(size, size + 1)


def _from(least: int) -> range:
    return range(least, LARGEST_AXIS)


def drawn_queries(known: NDArray[Any], kind: str, count: int, seed: int) -> NDArray[Any]:
    """Return made-up queries, drawn evenly from each element's range in `known`.

    Raises:
        UnusableData: Text cannot be drawn so; `preprocess/text.py` makes some.
    """
    if kind == "text":
        raise UnusableData("text is not drawn from the range of its bytes")
    low, high = np.nanmin(known, axis=0), np.nanmax(known, axis=0)
    random = np.random.default_rng(seed)
    if known.dtype.kind in "iu":
        return random.integers(low, high, (count, *known.shape[1:]), dtype=known.dtype, endpoint=True)
    return random.uniform(low, high, (count, *known.shape[1:])).astype(np.float32)
