"""Raw queries as arrays: which type they keep, which shape they have, and which can be made up.

Decides: that pictures, sound and text keep the whole numbers that they come in, since their pre-processing reads bytes
and 16 bits as such; everything else is float32. Leaves out: what is done to them (`preprocess/`).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from controller.errors import UnusableData
from wire.spec import AudioPre, ImagePre, PreSpec, SeriesPre, TablePre, TextPre

WHOLE_KINDS = ("audio", "image", "text")
"""Kinds of pre-processing that take whole numbers as such."""


def as_queries(queries: Any, kind: str) -> NDArray[Any]:
    """Return queries, stacked, as the pre-processing of this kind takes them.

    Raises:
        ValueError: Not numbers of one shape.
    """
    array = np.asarray(queries)
    whole = kind in WHOLE_KINDS and array.dtype.kind in "iu"
    return np.ascontiguousarray(array, dtype=array.dtype if whole else np.float32)


def check_queries(queries: NDArray[Any], pre: PreSpec, where: str) -> None:
    """Refuse queries of a shape that the pipeline does not take.

    Raises:
        UnusableData: Expected and given shape are named.
    """
    if isinstance(pre, ImagePre):
        fits = queries.dtype in (np.uint8, np.uint16) and _is_pictures(queries.shape)
        if not fits:
            raise UnusableData(
                f"{where}: inputs are {queries.dtype} of shape {queries.shape}; pictures are uint8 or uint16, "
                "(n, rows, columns) with 1, 3 or 4 channels behind, or none"
            )
        return
    want, have = _wanted(pre), queries.shape[1:]
    if isinstance(pre, AudioPre) and len(have) == 2 and have[0] == 1:
        have = have[1:]
    if len(have) != len(want) or any(asked not in (size, -1) for size, asked in zip(have, want, strict=True)):
        asked = ", ".join("any" if size == -1 else str(size) for size in want)
        raise UnusableData(f"{where}: inputs have shape {queries.shape}, the model takes (n, {asked})")


def _is_pictures(shape: tuple[int, ...]) -> bool:
    return 0 not in shape and (len(shape) == 3 or (len(shape) == 4 and shape[3] in (1, 3, 4)))


def _wanted(pre: PreSpec) -> tuple[int, ...]:
    """Return the shape of one query; -1 where any size goes."""
    if isinstance(pre, SeriesPre):
        return (pre.channels, pre.length + pre.difference if pre.resize == "error" else -1)
    if isinstance(pre, TablePre):
        return (pre.features,)
    if isinstance(pre, AudioPre):
        return (pre.samples if pre.resize == "error" else -1,)
    return (-1,) if isinstance(pre, TextPre) else pre.input.shape[1:]


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
