"""Text: tokens by the bundle's own tokeniser, cut and padded to a fixed length, into the model's two or three inputs.

Decides: which texts are taken, and what is cut. An empty text is a text where the tokeniser puts tokens of its own
around it; a text of which no token comes at all is refused, since a model that averages over tokens would divide by
zero. Truncation and padding that the tokeniser's file asks for are left out: the specification alone says what is done.
Nothing is fetched: the file in the bundle is all there is.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.errors import BadBundle, BadQuery, EngineUnavailable
from agent.inference.bundle import confined
from agent.inference.kernels.compiled import Kernel
from agent.inference.pre.base import Array, Doubles, Place
from agent.inference.shapes import query_shape
from wire import spec

DTYPES = ("int32", "int64")

Fill = Callable[[Any], list[int]]
"""An encoding -> the numbers of one input."""


class Text:
    geometry: Doubles | None = None
    kernels: tuple[Kernel[..., Any], ...] = ()

    def __init__(self, pre: spec.TextPre, place: Place) -> None:
        self._pre = pre
        self._tokeniser = open_tokeniser(pre, place.folder)
        self.feeds: tuple[Array, ...] = tuple(_buffer(pre, tensor, place) for tensor in spec.input_tensors(pre))
        parts: list[tuple[spec.TensorSpec | None, int, Fill]] = [
            (pre.input, pre.pad_id, lambda encoding: encoding.ids),
            (pre.mask, 0, lambda encoding: [1] * len(encoding.ids)),
            (pre.types, 0, lambda encoding: encoding.type_ids),
        ]
        self._fills = [(padding, fill) for tensor, padding, fill in parts if tensor is not None]

    def prepare(self, query: NDArray[Any]) -> Array:
        text = text_of(query, self._pre.largest_bytes)
        try:
            encoding = self._tokeniser.encode(text, **self._options)
        except Exception as exc:
            # The library raises plain `Exception`, e.g. for a word that the vocabulary lacks and has no token for.
            raise BadQuery(f"the tokeniser refuses the text: {str(exc)[:300]}") from exc
        count, length = len(encoding.ids), self._pre.length
        if count > length:
            raise BadQuery(f"expected a text of at most {length} tokens, given one of {count}: shorten it")
        if count == 0:
            raise BadQuery("expected a text, given one of which no token comes")
        start = length - count if self._pre.pad_side == "left" else 0
        for feed, (padding, fill) in zip(self.feeds, self._fills, strict=True):
            row: Any = feed[0]
            row[:] = padding
            row[start : start + count] = fill(encoding)
        return self.feeds[0]

    @property
    def _options(self) -> dict[str, bool]:
        return {"add_special_tokens": self._pre.special_tokens}


def text_of(query: NDArray[Any], largest_bytes: int) -> str:
    """Return the text that a query stands for.

    Args:
        query: Its UTF-8 bytes: one element of bytes (`S`), or whole numbers of shape (n,), best uint8. Zero bytes at
            the end are padding.
        largest_bytes: A longer one is refused before it is looked at.
    Raises:
        BadQuery: It is none; expected and given are named.
    """
    whole = query.ndim == 0 and query.dtype.kind == "S"
    if not whole and (query.ndim != 1 or query.dtype.kind not in "fiu"):
        raise BadQuery(f"expected a text's bytes as uint8 of shape (n,), given {query.dtype} of shape {query.shape}")
    if not whole and query.dtype != np.uint8:
        if not ((query >= 0) & (query <= 255) & (query == np.floor(query))).all():
            raise BadQuery(f"expected a text's bytes, given {query.dtype} numbers that are no whole ones from 0 to 255")
        query = query.astype(np.uint8)
    content = query.tobytes().rstrip(b"\0")
    if len(content) > largest_bytes:
        raise BadQuery(f"expected a text of at most {largest_bytes} bytes, given {len(content)}")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise BadQuery(f"expected UTF-8, byte {exc.start} of {len(content)} is none: {exc.reason}") from exc


def open_tokeniser(pre: spec.TextPre, folder: Path | None) -> Any:
    """Return the bundle's tokeniser, set to cut as `pre` says and to pad nothing.

    Raises:
        BadBundle: The file is missing or none, or leaves no room for the text's own tokens.
        EngineUnavailable: The library is not installed.
    """
    if folder is None:
        raise BadBundle(f"the tokeniser {pre.tokeniser!r} is a file of the bundle: there is no bundle here")
    file = confined(folder, pre.tokeniser)
    try:
        from tokenizers import Tokenizer
    except ImportError as exc:
        raise EngineUnavailable("text needs the package tokenizers: install thresher[text]") from exc
    try:
        tokeniser: Any = Tokenizer.from_str(file.read_text(encoding="utf-8"))
    except Exception as exc:  # the library raises nothing more special
        raise BadBundle(f"{file} is no readable tokenizer.json: {exc}") from exc
    own = tokeniser.num_special_tokens_to_add(False) if pre.special_tokens else 0
    if pre.length <= own:
        raise BadBundle(f"a length of {pre.length} tokens has no room for a text beside the {own} that surround it")
    tokeniser.no_padding()
    tokeniser.no_truncation()
    if pre.truncate != "error":
        tokeniser.enable_truncation(pre.length, direction=pre.truncate)
    return tokeniser


def _buffer(pre: spec.TextPre, tensor: spec.TensorSpec, place: Place) -> Array:
    if tensor.dtype not in DTYPES:
        raise BadBundle(f"tokens are {' or '.join(DTYPES)}: the input {tensor.name!r} is {tensor.dtype}")
    shape = query_shape(tensor.shape, place.shape(tensor), (pre.length,))
    if shape != (1, pre.length):
        raise BadBundle(f"{pre.length} tokens do not fit the input {tensor.name!r} of shape {shape}")
    return place.buffer(tensor, shape)
