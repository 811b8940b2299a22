"""Where the large tensors of a model file lie, read from the file's own structure.

Decides: which stretches of an ONNX or a TFLite file are tensors of `LARGE_BYTES` or more. Leaves out: cutting
(`gear.py`). Only offsets are read, no model is built: a file that is not what its name says has no such tensors, and is
cut by its content alone.

    tensor_spans("model.onnx", content)      # [(1842, 527154), …]
"""

import struct
from collections.abc import Callable, Iterator, Mapping

LARGE_BYTES = 16 * 1024
"""From here on a tensor's chunks are its own, and what lies between two such tensors is packed together. Small, since a
calibration changes the biases and scales between all layers and none of the weights (ADR 0032 has the numbers)."""

Span = tuple[int, int]
"""[start, end) in the file."""

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_DATA = "data"
_ONNX: Mapping[str, Mapping[int, str]] = {
    "model": {7: "graph", 25: "function"},
    "function": {7: "node"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "tensor": dict.fromkeys((4, 5, 7, 9, 10, 11), _DATA),
}
"""message -> number of a field -> what it holds. Source: onnx.proto3 of ONNX 1.18."""

_TFLITE_NAME = b"TFL3"
_BUFFERS, _BUFFER_DATA, _BUFFER_OFFSET, _BUFFER_SIZE = 4, 0, 1, 2
"""Positions of fields. Source: schema.fbs of TFLite, version 3."""


class _Torn(Exception):
    """The file's structure leads out of the file."""


def tensor_spans(name: str, content: bytes) -> list[Span]:
    """Return the stretches of `content` that hold large tensors, in order, none within another.

    Args:
        name: The file's; what ends neither in `.onnx` nor in `.tflite` has none.
        content: The whole file.
    """
    found = _READERS.get(name.rpartition(".")[2])
    try:
        spans = sorted(span for span in found(content) if span[1] - span[0] >= LARGE_BYTES) if found else []
    except (_Torn, struct.error):
        return []
    apart: list[Span] = []
    for span in spans:
        if span[1] <= len(content) and (not apart or span[0] >= apart[-1][1]):
            apart.append(span)
    return apart


def _onnx(content: bytes) -> Iterator[Span]:
    waiting: list[tuple[str, int, int]] = [("model", 0, len(content))]
    while waiting:
        message, start, end = waiting.pop()
        for number, first, last in _fields(content, start, end):
            kind = _ONNX[message].get(number)
            if kind == _DATA:
                yield first, last
            elif kind is not None and last - first >= LARGE_BYTES:
                waiting.append((kind, first, last))


def _fields(content: bytes, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield (number, start, end) of the fields with a length of one protobuf message."""
    while start < end:
        tag, start = _varint(content, start, end)
        kind = tag & 7
        if kind == _BYTES:
            size, start = _varint(content, start, end)
            if start + size > end:
                raise _Torn
            yield tag >> 3, start, start + size
            start += size
        elif kind == _VARINT:
            _, start = _varint(content, start, end)
        elif kind in (_FIXED64, _FIXED32):
            start += 8 if kind == _FIXED64 else 4
        else:
            raise _Torn


def _varint(content: bytes, start: int, end: int) -> tuple[int, int]:
    value = 0
    for place in range(start, min(start + 10, end)):
        value |= (content[place] & 0x7F) << 7 * (place - start)
        if content[place] < 0x80:
            return value, place + 1
    raise _Torn


def _tflite(content: bytes) -> Iterator[Span]:
    if content[4:8] != _TFLITE_NAME:
        return
    buffers = _followed(content, _field(content, _u32(content, 0), _BUFFERS))
    for number in range(_u32(content, buffers) if buffers else 0):
        buffer = _followed(content, buffers + 4 + 4 * number)
        data = _followed(content, _field(content, buffer, _BUFFER_DATA))
        if data:
            yield data + 4, data + 4 + _u32(content, data)
        offset, size = (_u64(content, _field(content, buffer, field)) for field in (_BUFFER_OFFSET, _BUFFER_SIZE))
        if offset > 1:  # behind the flatbuffer: the way of files of more than 2 GB
            yield offset, offset + size


def _field(content: bytes, table: int, number: int) -> int:
    """Return where a table's field lies, 0 where it has none."""
    layout = table - struct.unpack_from("<i", content, table)[0]
    if layout < 0 or 4 + 2 * number >= struct.unpack_from("<H", content, layout)[0]:
        return 0
    offset: int = struct.unpack_from("<H", content, layout + 4 + 2 * number)[0]
    return table + offset if offset else 0


def _followed(content: bytes, place: int) -> int:
    return place + _u32(content, place) if place else 0


def _u32(content: bytes, place: int) -> int:
    value: int = struct.unpack_from("<I", content, place)[0]
    return value


def _u64(content: bytes, place: int) -> int:
    value: int = struct.unpack_from("<Q", content, place)[0] if place else 0
    return value


_READERS: Mapping[str, Callable[[bytes], Iterator[Span]]] = {"onnx": _onnx, "tflite": _tflite}
