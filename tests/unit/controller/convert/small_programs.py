"""An ExecuTorch program's flatbuffer and a Core ML package, written field by field: no converter is needed.

The programs hold only what the controller reads; a test with the real converters reads theirs (`workers/`).
"""

import zipfile
from pathlib import Path

import flatbuffers

FLOAT, LONG, BFLOAT16 = 6, 4, 15
TENSOR, INT = 5, 2


def write_program(path: Path, *, method: str = "forward", scalar_type: int = FLOAT, value_type: int = TENSOR) -> Path:
    """Write a program that takes (1, 17) and gives (1, 3), with an XNNPACK block and one operator of its own."""
    builder = flatbuffers.Builder(1024)
    values = [_value(builder, (1, 17), scalar_type, value_type), _value(builder, (1, 3), scalar_type, TENSOR)]
    operator = _named(builder, "aten::relu", fields=2)
    delegate = _named(builder, "XnnpackBackend", fields=3)
    name = builder.CreateString(method)
    vectors = {
        2: _vector(builder, values),
        3: _integers(builder, [0]),
        4: _integers(builder, [1]),
        6: _vector(builder, [operator]),
        7: _vector(builder, [delegate]),
    }
    builder.StartObject(10)
    builder.PrependUOffsetTRelativeSlot(0, name, 0)
    for place, vector in vectors.items():
        builder.PrependUOffsetTRelativeSlot(place, vector, 0)
    plans = _vector(builder, [builder.EndObject()])
    builder.StartObject(8)
    builder.PrependUOffsetTRelativeSlot(1, plans, 0)
    builder.Finish(builder.EndObject(), b"ET12")
    path.write_bytes(bytes(builder.Output()))
    return path


def _value(builder: flatbuffers.Builder, sizes: tuple[int, ...], scalar_type: int, value_type: int) -> int:
    vector = _integers(builder, list(sizes))
    builder.StartObject(10)
    builder.PrependInt8Slot(0, scalar_type, 0)
    builder.PrependUOffsetTRelativeSlot(2, vector, 0)
    tensor = builder.EndObject()
    builder.StartObject(2)
    builder.PrependInt8Slot(0, value_type, 0)
    builder.PrependUOffsetTRelativeSlot(1, tensor, 0)
    return int(builder.EndObject())


def _named(builder: flatbuffers.Builder, name: str, fields: int) -> int:
    text = builder.CreateString(name)
    builder.StartObject(fields)
    builder.PrependUOffsetTRelativeSlot(0, text, 0)
    return int(builder.EndObject())


def _integers(builder: flatbuffers.Builder, numbers: list[int]) -> int:
    builder.StartVector(4, len(numbers), 4)
    for number in reversed(numbers):
        builder.PrependInt32(number)
    return int(builder.EndVector())


def _vector(builder: flatbuffers.Builder, offsets: list[int]) -> int:
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return int(builder.EndVector())


def field(number: int, value: int | bytes) -> bytes:
    """Return a field of a protobuf message."""
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    written = bytearray()
    while value > 0x7F:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*written, value])


def feature(name: str, shape: tuple[int, ...], kind: int = 65568) -> bytes:
    """Return a FeatureDescription of an array."""
    packed = field(1, b"".join(map(_varint, shape))) if shape else b""
    return field(1, name.encode()) + field(3, field(5, packed + field(2, kind)))


def specification(version: int = 7, *, program: bool = True, kind: int = 65568) -> bytes:
    """Return a model's specification with one input and one output."""
    described = field(1, feature("input", (1, 3, 300), kind)) + field(10, feature("output", (), kind))
    return field(1, version) + field(2, described) + (field(502, b"") if program else b"")


def write_package(path: Path, content: bytes, name: str = "model.mlpackage") -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}/Manifest.json", "{}")
        archive.writestr(f"{name}/Data/com.apple.CoreML/model.mlmodel", content)
    return path
