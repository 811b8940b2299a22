"""What a provider must know of an ONNX file before it is loaded, read from its bytes alone: no onnx package is needed.

Decides: whether the graph is quantised (QDQ) or in half precision, and what its inputs are. Leaves out: all else;
weights are stepped over, not read. Source: onnx.proto, protocol buffers' wire format.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from agent.errors import EngineFailed

GRAPH = 7
OPERATORS, INITIALIZERS, INPUTS = 1, 5, 11
OPERATOR_TYPE, ATTRIBUTES = 4, 5
ATTRIBUTE_TENSOR = 5
TENSOR_TYPE, TENSOR_NAME = 2, 8
VALUE_NAME, VALUE_TYPE = 1, 2
TYPE_TENSOR, TENSOR_SHAPE, SHAPE_AXIS, AXIS_SIZE = 1, 2, 1, 1
FLOAT16 = 10

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5
MOST_VARINT_BYTES = 10

Field = tuple[int, int | memoryview]


@dataclass
class Graph:
    """`inputs`: name -> shape of what is fed, -1 for a free axis."""

    quantised: bool = False
    half: bool = False
    inputs: dict[str, tuple[int, ...]] = field(default_factory=dict)


def read_graph(content: bytes) -> Graph:
    """Return what stands in an ONNX file.

    Raises:
        EngineFailed: It is none.
    """
    try:
        parts = [part for number, part in _fields(memoryview(content)) if number == GRAPH]
        if len(parts) != 1 or isinstance(parts[0], int):
            raise ValueError(f"it has {len(parts)} graphs")
        return _graph(parts[0])
    except (IndexError, UnicodeDecodeError, ValueError) as exc:
        raise EngineFailed(f"not an ONNX file: {exc}") from exc


def _graph(part: memoryview) -> Graph:
    found, constants = Graph(), set()
    for number, value in _fields(part):
        if isinstance(value, int):
            continue
        match number:
            case 1:
                _operator(found, value)
            case 5:
                constants.add(_text(value, TENSOR_NAME))
                found.half |= _number(value, TENSOR_TYPE) == FLOAT16
            case 11:
                found.inputs[_text(value, VALUE_NAME)] = _shape(value)
    found.inputs = {name: shape for name, shape in found.inputs.items() if name not in constants}
    return found


def _operator(found: Graph, part: memoryview) -> None:
    """Look at an operator: some exporters keep weights in operators of their own."""
    kind = _text(part, OPERATOR_TYPE)
    found.quantised |= kind in ("QuantizeLinear", "DequantizeLinear")
    if kind == "Constant":
        tensors = (tensor for each in _parts(part, ATTRIBUTES) for tensor in _parts(each, ATTRIBUTE_TENSOR))
        found.half |= any(_number(tensor, TENSOR_TYPE) == FLOAT16 for tensor in tensors)


def _shape(value: memoryview) -> tuple[int, ...]:
    axes: list[int] = []
    for kind in _parts(value, VALUE_TYPE):
        for tensor in _parts(kind, TYPE_TENSOR):
            for shape in _parts(tensor, TENSOR_SHAPE):
                axes += [_number(axis, AXIS_SIZE) or -1 for axis in _parts(shape, SHAPE_AXIS)]
    return tuple(axes)


def _parts(part: memoryview, number: int) -> Iterator[memoryview]:
    yield from (value for found, value in _fields(part) if found == number and not isinstance(value, int))


def _text(part: memoryview, number: int) -> str:
    return next((bytes(value).decode() for value in _parts(part, number)), "")


def _number(part: memoryview, number: int) -> int:
    return next((value for found, value in _fields(part) if found == number and isinstance(value, int)), 0)


def _fields(part: memoryview) -> Iterator[Field]:
    """Yield (field number, value) of a message; a value is a number, or a part of the bytes."""
    place = 0
    while place < len(part):
        key, place = _varint(part, place)
        number, kind = key >> 3, key & 7
        if kind == VARINT:
            value, place = _varint(part, place)
            yield number, value
            continue
        if kind == LENGTH:
            size, place = _varint(part, place)
        elif kind in (FIXED64, FIXED32):
            size = 8 if kind == FIXED64 else 4
        else:
            raise ValueError(f"a field of the unknown kind {kind}")
        if place + size > len(part):
            raise ValueError("it ends in the middle of a field")
        yield number, part[place : place + size]
        place += size


def _varint(part: memoryview, place: int) -> tuple[int, int]:
    value = 0
    for step in range(MOST_VARINT_BYTES):
        byte = part[place + step]
        value |= (byte & 0x7F) << (7 * step)
        if byte < 0x80:
            return value, place + step + 1
    raise ValueError("a number is too long")
