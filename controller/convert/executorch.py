"""ExecuTorch programs: signature and operators, read from the flatbuffer without the runtime.

Decides: which fields of the file are read. Leaves out: running it (the agent's engine). A program keeps no names of its
tensors, so they are called `input_0`, `output_0` and so on; XNNPACK's part is one block, whose weights are not counted.

    read_executorch(Path("m.pte")).delegates  # {"XnnpackBackend": 1}
"""

import struct
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from controller.convert.signature import Signature, check_readable
from controller.errors import UnusableModel
from wire.spec import DType, TensorSpec

_IDENTIFIER = b"ET12"  # bytes 4 to 8 of every program of this version of the format
_DTYPES: dict[int, DType] = {0: "uint8", 1: "int8", 3: "int32", 4: "int64", 5: "float16", 6: "float32"}
# Places of fields in program.fbs: a field's place is its number in the table, in the order of the file.
_PROGRAM_PLANS = 1
_PLAN_NAME, _PLAN_VALUES, _PLAN_INPUTS, _PLAN_OUTPUTS = 0, 2, 3, 4
_PLAN_OPERATORS, _PLAN_DELEGATES = 6, 7
_VALUE_TYPE, _VALUE = 0, 1
_TENSOR = 5  # of the union KernelTypes: NONE is 0
_TENSOR_TYPE, _TENSOR_SIZES = 0, 2
_NAME = 0  # of an operator; of a delegate, its id


@dataclass(frozen=True)
class ExecutorchFacts:
    """What a program says of itself.

    operators: kernels of ExecuTorch's own, by name. delegates: blocks that a backend runs, by its name.
    """

    signature: Signature
    operators: dict[str, int]
    delegates: dict[str, int]


def read_executorch(path: Path) -> ExecutorchFacts:
    """Return the facts of a `.pte`'s method `forward`.

    Raises:
        UnusableModel: Not a program, truncated, without that method, or with a tensor type that no bundle carries.
    """
    check_readable(path)
    content = path.read_bytes()
    if content[4:8] != _IDENTIFIER:
        raise UnusableModel(f"{path}: not an ExecuTorch program of format {_IDENTIFIER.decode()}; export it again")
    try:
        return _facts(content, path)
    except (IndexError, ValueError, KeyError, TypeError, struct.error) as exc:
        raise UnusableModel(f"{path}: a broken ExecuTorch program ({type(exc).__name__}: {exc})") from exc


def _facts(content: bytes, path: Path) -> ExecutorchFacts:
    plans = [plan for plan in _tables(_root(content), _PROGRAM_PLANS) if _text(plan, _PLAN_NAME) == "forward"]
    if not plans:
        raise UnusableModel(f"{path}: the program has no method called forward; export it again")
    plan = plans[0]
    values = list(_tables(plan, _PLAN_VALUES))
    return ExecutorchFacts(
        Signature(
            tuple(_tensors(values, _numbers(plan, _PLAN_INPUTS), "input", path)),
            tuple(_tensors(values, _numbers(plan, _PLAN_OUTPUTS), "output", path)),
        ),
        dict(sorted(Counter(_text(each, _NAME) for each in _tables(plan, _PLAN_OPERATORS)).items())),
        dict(sorted(Counter(_text(each, _NAME) for each in _tables(plan, _PLAN_DELEGATES)).items())),
    )


def _tensors(values: list[Any], places: list[int], word: str, path: Path) -> Iterator[TensorSpec]:
    for number, place in enumerate(places):
        value = values[place]
        if _byte(value, _VALUE_TYPE) != _TENSOR:
            raise UnusableModel(f"{path}: {word} {number} is no tensor; export a network of tensors")
        tensor = _union(value, _VALUE)
        kind = _byte(tensor, _TENSOR_TYPE)
        if kind not in _DTYPES:
            raise UnusableModel(
                f"{path}: {word} {number} has scalar type {kind}; known are {', '.join(_DTYPES.values())}"
            )
        yield TensorSpec(name=f"{word}_{number}", shape=tuple(_numbers(tensor, _TENSOR_SIZES)), dtype=_DTYPES[kind])


def _root(content: bytes) -> Any:
    from flatbuffers import encode, packer, table

    return table.Table(content, encode.Get(packer.uoffset, content, 0))


def _offset(parent: Any, field: int) -> int:
    """Return where a field lies relative to its table; 0 where the table has none."""
    return int(parent.Offset(4 + 2 * field))


def _tables(parent: Any, field: int) -> Iterator[Any]:
    from flatbuffers import table

    if offset := _offset(parent, field):
        for number in range(parent.VectorLen(offset)):
            yield table.Table(parent.Bytes, parent.Indirect(parent.Vector(offset) + 4 * number))


def _numbers(parent: Any, field: int) -> list[int]:
    from flatbuffers import number_types

    offset = _offset(parent, field)
    if not offset:
        return []
    start = parent.Vector(offset)
    return [int(parent.Get(number_types.Int32Flags, start + 4 * n)) for n in range(parent.VectorLen(offset))]


def _text(parent: Any, field: int) -> str:
    offset = _offset(parent, field)
    return parent.String(parent.Pos + offset).decode() if offset else ""


def _byte(parent: Any, field: int) -> int:
    from flatbuffers import number_types

    offset = _offset(parent, field)
    return int(parent.Get(number_types.Int8Flags, parent.Pos + offset)) if offset else 0


def _union(parent: Any, field: int) -> Any:
    from flatbuffers import table

    found = table.Table(b"", 0)
    parent.Union(found, _offset(parent, field))
    return found
