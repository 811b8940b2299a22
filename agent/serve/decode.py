"""A query's bytes -> an array. This runs in the worker, behind its sandbox: the gateway never looks inside.

Decides: encodings, dtypes, that nothing is unpickled, and that JSON holds finite numbers and nothing else, or a text:
that becomes an array of bytes (`S`), which no pre-processing of numbers takes for some. Leaves out: whether the array
fits the bundle (`agent/inference/pre`).
"""

import codecs
import io
import json
import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.errors import BadQuery

DTYPES = frozenset(
    {"float64", "float32", "float16", "int64", "int32", "int16", "int8", "uint8", "uint16", "uint32", "bool"}
)
LARGEST_AXES = 8
NUMBERS_ONLY = b"0123456789+-.eE,[] \t\r\n"
"""All that nested lists of numbers are written with: no text, no object, neither true, null, NaN nor Infinity."""
SHOWN_BYTES = 20
LARGEST_TEXTS_BYTES = 2**28
_TEXTS = re.compile(rb'\s*\[\s*"')
_HEADS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def decode_query(payload: bytes, encoding: str, dtype: str, shape: list[int]) -> NDArray[Any]:
    """Return the array that `payload` holds.

    Args:
        payload: Bytes as they came.
        encoding: `raw`, `npy` or `json`.
        dtype: Of `raw`.
        shape: Of `raw`.
    Raises:
        BadQuery: It holds none; the text says why.
    """
    try:
        if encoding == "raw":
            return _raw(payload, dtype, shape)
        return _npy(payload) if encoding == "npy" else _json(payload)
    except (TypeError, ValueError, EOFError, RecursionError, OverflowError) as exc:
        raise BadQuery(f"not an array of numbers ({encoding}): {str(exc)[:300]}") from exc
    except MemoryError as exc:
        raise BadQuery(f"{len(payload)} bytes ({encoding}) take more memory than there is") from exc


class Form:
    """How queries are read that are all alike, as those of a source are: worked out once."""

    def __init__(self, header: Mapping[str, Any]) -> None:
        """Take it from a query's header."""
        self.batch = bool(header.get("batch"))
        self._fields = (str(header.get("encoding")), str(header.get("dtype")), list(header.get("shape") or ()))
        encoding, dtype, shape = self._fields
        is_plain = encoding == "raw" and dtype in DTYPES and len(shape) <= LARGEST_AXES
        self._dtype = np.dtype(dtype) if is_plain else None
        self._shape = tuple(shape)
        self._bytes = math.prod(self._shape) * self._dtype.itemsize if self._dtype is not None else -1
        if any(not isinstance(size, int) or size < 0 for size in shape):
            self._bytes = -1

    def decode(self, payload: bytes | memoryview) -> NDArray[Any]:
        """Return the array that `payload` holds; it may share its memory.

        Raises:
            BadQuery: It holds none; the text says why.
        """
        if len(payload) == self._bytes:
            return np.ndarray(self._shape, self._dtype, payload)
        if self.batch and self._fields[0] == "json" and _TEXTS.match(payload):
            return _decoded_texts(bytes(payload))
        return decode_query(bytes(payload), *self._fields)


def _raw(payload: bytes, dtype: str, shape: list[int]) -> NDArray[Any]:
    if dtype not in DTYPES or len(shape) > LARGEST_AXES:
        raise ValueError(f"dtype {dtype[:20]!r} or {len(shape)} axes are not taken")
    return np.frombuffer(payload, dtype=dtype).reshape(shape)


def _npy(payload: bytes) -> NDArray[Any]:
    """Return a view of the file's numbers. `np.load` would first allocate whatever the file's head promises."""
    file = io.BytesIO(payload)
    read_head = _HEADS.get(np.lib.format.read_magic(file))
    if read_head is None:
        raise ValueError("a .npy file of version 1 or 2 is wanted")
    shape, fortran, dtype = read_head(file)
    if dtype.name not in DTYPES:
        raise ValueError("a .npy file of numbers is wanted")
    there, promised = len(payload) - file.tell(), math.prod(shape) * dtype.itemsize
    if there != promised:
        raise ValueError(f"the file's head promises {promised} bytes of numbers, there are {there}")
    numbers = np.frombuffer(payload, dtype, offset=file.tell())
    return numbers.reshape(shape[::-1]).T if fortran else numbers.reshape(shape)


def _decoded_texts(payload: bytes) -> NDArray[Any]:
    """Return the texts of a batch, shape (n,)."""
    try:
        texts = json.loads(payload)
        if not all(isinstance(text, str) for text in texts):
            raise ValueError("a list of texts holds something else besides")
        encoded = [text.encode() for text in texts]
    except (ValueError, RecursionError) as exc:
        raise BadQuery(f"not a list of texts (json): {str(exc)[:300]}") from exc
    if len(encoded) * max(map(len, encoded)) > LARGEST_TEXTS_BYTES:  # each takes as much room as the longest
        raise BadQuery(f"{len(encoded)} texts, the longest of {max(map(len, encoded))} bytes: ask fewer at a time")
    return np.array(encoded)


def _json(payload: bytes) -> NDArray[Any]:
    payload = payload.removeprefix(codecs.BOM_UTF8)
    if payload.lstrip()[:1] == b'"':
        return np.array(json.loads(payload).encode())
    # numpy would take "1", true and null as numbers; a pass over the text is far cheaper than a look at each value.
    if other := payload.translate(None, NUMBERS_ONLY):
        place = payload.index(other[:1])
        shown = payload[place : place + SHOWN_BYTES].decode("utf-8", "backslashreplace")
        raise ValueError(f"{shown!r} at byte {place} is neither a number nor a list of numbers")
    array = np.array(json.loads(payload), dtype=np.float64)
    if array.ndim > LARGEST_AXES:
        raise ValueError(f"{array.ndim} axes")
    if not np.isfinite(array).all():
        place = np.flatnonzero(~np.isfinite(array))[0]
        raise ValueError(f"number {place + 1} of {array.size} is too large")
    return array


def decode_value(query: Any) -> NDArray[Any]:
    """Return the array that nested lists, or a text, stand for.

    Raises:
        BadQuery: They stand for none.
    """
    try:
        text = json.dumps(query).encode()
    except RecursionError as exc:
        raise BadQuery(f"not an array of numbers: {exc}") from exc
    return decode_query(text, "json", "", [])
