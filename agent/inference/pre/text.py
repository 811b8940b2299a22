"""Text: tokens by the bundle's own tokeniser, cut and padded to a fixed length, into the model's two or three inputs.

Decides: which texts are taken, and what is cut. An empty text is a text where the tokeniser puts tokens of its own
around it; a text of which no token comes at all is refused, since a model that averages over tokens would divide by
zero. Truncation and padding that the tokeniser's file asks for are left out: the specification alone says what is done.
Nothing is fetched: the file in the bundle is all there is. It is tried out before it serves: one that fails at words
which it does not know would fail at some query.
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
from wire.spec.text import UNKNOWN_TEXT

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
            encoding = asked(self._tokeniser.encode, text, add_special_tokens=self._pre.special_tokens)
        except ValueError as exc:
            raise BadQuery(f"the tokeniser refuses the text: {exc}") from exc
        count, length = len(encoding.ids), self._pre.length
        if count > length:
            raise BadQuery(f"expected a text of at most {length} tokens, given one of {count}: shorten it")
        if count == 0:
            raise BadQuery("expected a text, given one of which no token comes")
        start = length - count if self._pre.pad_side == "left" else 0
        for feed, (padding, fill) in zip(self.feeds, self._fills, strict=True):
            row: Any = feed[0]
            row[:] = padding
            try:
                row[start : start + count] = fill(encoding)
            except OverflowError as exc:
                raise BadQuery(f"a token's number does not fit the input, which is {feed.dtype}: {exc}") from exc
        return self.feeds[0]


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
        BadBundle: The file is missing or none, leaves no room for the text's own tokens, fails at words that it does
            not know, or has no token `pad_id`.
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
        tokeniser: Any = asked(Tokenizer.from_str, file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise BadBundle(f"{file} is no readable tokenizer.json: {exc}") from exc
    tokeniser.no_padding()
    tokeniser.no_truncation()
    _try_out(tokeniser, pre, file)
    if pre.truncate != "error":
        tokeniser.enable_truncation(pre.length, direction=pre.truncate)
    return tokeniser


def asked(call: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Return what a call of the library `tokenizers` gives.

    Raises:
        ValueError: The library fails; the text is its own.
    """
    try:
        return call(*arguments, **options)
    except MemoryError:
        raise
    except BaseException as exc:
        # The library raises plain `Exception`, and where its Rust code panics an error that is not even one of those.
        if not isinstance(exc, Exception) and type(exc).__name__ != "PanicException":
            raise
        raise ValueError(str(exc)[:300]) from exc


def _try_out(tokeniser: Any, pre: spec.TextPre, file: Path) -> None:
    own = tokeniser.num_special_tokens_to_add(False) if pre.special_tokens else 0
    if pre.length <= own:
        raise BadBundle(f"a length of {pre.length} tokens has no room for a text beside the {own} that surround it")
    if not _is_token(tokeniser, pre.pad_id):
        raise BadBundle(f"pad_id is {pre.pad_id}: expected a token of {file.name}, which has no such number")
    try:
        asked(tokeniser.encode, UNKNOWN_TEXT, add_special_tokens=pre.special_tokens)
    except ValueError as exc:
        raise BadBundle(
            f"{file.name} fails at words that it does not know: {exc}; expected is an unknown token that stands in the "
            f"model's vocabulary"
        ) from exc


def _is_token(tokeniser: Any, number: int) -> bool:
    """Return whether a vocabulary has `number`; it may have gaps, and the library counts in 32 bits."""
    if number < tokeniser.get_vocab_size():
        return True
    return number < 2**32 and tokeniser.id_to_token(number) is not None


def _buffer(pre: spec.TextPre, tensor: spec.TensorSpec, place: Place) -> Array:
    if tensor.dtype not in DTYPES:
        raise BadBundle(f"tokens are {' or '.join(DTYPES)}: the input {tensor.name!r} is {tensor.dtype}")
    shape = query_shape(tensor.shape, place.shape(tensor), (pre.length,))
    if shape != (1, pre.length):
        raise BadBundle(f"{pre.length} tokens do not fit the input {tensor.name!r} of shape {shape}")
    return place.buffer(tensor, shape)
