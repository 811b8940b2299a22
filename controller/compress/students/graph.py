"""A model's graph while it is changed: who makes and reads what, and a model with other operators in it.

Decides: that what nothing reads goes, and that operators stand behind what they read. Leaves out: which operators are
changed (the modules beside this one), and whether the shapes fit afterwards (`early/legal.py`).

    seen = look(model)
    changed(model, {"v3": [stem]}, reads={"v7": "v5"})
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from controller.errors import UnusableModel

if TYPE_CHECKING:
    import onnx

WEIGHTED = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul", "GRU", "LSTM", "RNN"})
"""Operators that hold what is learned, and compute with it."""


@dataclass(frozen=True)
class Look:
    """A model as it is at one moment. Operators are known by their first output.

    makers: value -> operator. readers: value -> operators. constants: those of the file.
    """

    makers: Mapping[str, onnx.NodeProto]
    readers: Mapping[str, Sequence[onnx.NodeProto]]
    constants: Mapping[str, onnx.TensorProto]
    inputs: tuple[str, ...]
    outputs: frozenset[str]

    def computed(self, operator: onnx.NodeProto) -> list[str]:
        """Return the inputs of an operator that are no constants."""
        return [name for name in operator.input if name and name not in self.constants]

    def holds_weight(self, operator: onnx.NodeProto) -> bool:
        """Whether an operator computes with a constant of its own."""
        return operator.op_type in WEIGHTED and any(name in self.constants for name in operator.input[1:])


def sees_places(operator: onnx.NodeProto, shapes: Mapping[str, tuple[int, ...]]) -> bool:
    """Whether an operator makes more than one number for each channel, as far as is known; rows have no places."""
    return set(shapes.get(operator.output[0], ())[2:]) != {1}


def look(model: onnx.ModelProto) -> Look:
    """Return who makes and reads what."""
    readers: dict[str, list[onnx.NodeProto]] = {}
    for operator in model.graph.node:
        for name in dict.fromkeys(filter(None, operator.input)):
            readers.setdefault(name, []).append(operator)
    return Look(
        makers={name: each for each in model.graph.node for name in each.output if name},
        readers=readers,
        constants={each.name: each for each in model.graph.initializer},
        inputs=tuple(each.name for each in model.graph.input),
        outputs=frozenset(each.name for each in model.graph.output),
    )


def prepared(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy that can be changed: constants are not at the same time inputs with a default.

    Raises:
        UnusableModel: An operator holds a graph of its own, whose reading is not followed.
    """
    import onnx

    inner = sorted(
        {
            each.op_type
            for each in model.graph.node
            for attribute in each.attribute
            if attribute.HasField("g") or attribute.graphs
        }
    )
    if inner:
        raise UnusableModel(f"a student is not derived from graphs within a graph ({', '.join(inner)})")
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    constants = {each.name for each in copy.graph.initializer}
    inputs = [each for each in model.graph.input if each.name not in constants]
    del copy.graph.input[:]
    copy.graph.input.extend(inputs)
    copy.ir_version = max(4, copy.ir_version)  # before, constants had to be inputs
    return copy


def changed(
    model: onnx.ModelProto,
    replaced: Mapping[str, Sequence[onnx.NodeProto]],
    *,
    added: Sequence[onnx.NodeProto] = (),
    reads: Mapping[str, str] | None = None,
    constants: Mapping[str, NDArray[Any]] | None = None,
) -> onnx.ModelProto:
    """Return a model with other operators; its inputs and outputs stay.

    Args:
        model: Not changed.
        replaced: First output of an operator -> what comes in its place.
        added: Operators besides, anywhere.
        reads: Value -> what all operators but those added read instead of it.
        constants: More of them.
    """
    import onnx
    from onnx import helper, numpy_helper

    reads = reads or {}
    operators: list[onnx.NodeProto] = [*added]
    for operator in model.graph.node:
        operators += [_reading(each, reads) for each in replaced.get(operator.output[0], [operator])]
    outputs = [each.name for each in model.graph.output if each.name in reads]
    operators = [each for each in operators if each.output[0] not in outputs]
    operators += [helper.make_node("Identity", [reads[name]], [name]) for name in outputs]

    made = onnx.ModelProto()
    made.CopyFrom(model)
    made.graph.initializer.extend(
        numpy_helper.from_array(np.ascontiguousarray(value), name) for name, value in (constants or {}).items()
    )
    del made.graph.node[:]
    made.graph.node.extend(_in_order(_needed(operators, model)))
    _drop_unread(made)
    return made


def without(operator: onnx.NodeProto, *names: str) -> dict[str, Any]:
    """Return an operator's attributes as plain values, without some."""
    from controller.compress.weights.operators import attributes

    return {name: value for name, value in attributes(operator).items() if name not in names}


def _reading(operator: onnx.NodeProto, reads: Mapping[str, str]) -> onnx.NodeProto:
    if not any(name in reads for name in operator.input):
        return operator
    import onnx

    other = onnx.NodeProto()
    other.CopyFrom(operator)
    for place, name in enumerate(other.input):
        other.input[place] = reads.get(name, name)
    return other


def _needed(operators: Sequence[onnx.NodeProto], model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """Return the operators that an output depends on."""
    makers = {name: each for each in operators for name in each.output}
    wanted, seen = [each.name for each in model.graph.output], set[str]()
    while wanted:
        name = wanted.pop()
        if name in makers and makers[name].output[0] not in seen:
            seen.add(makers[name].output[0])
            wanted += makers[name].input
    return [each for each in operators if each.output[0] in seen]


def _in_order(operators: Sequence[onnx.NodeProto]) -> list[onnx.NodeProto]:
    """Return the operators behind those that they read, else in the order given."""
    makers = {name: each for each in operators for name in each.output if name}
    placed: dict[str, onnx.NodeProto] = {}
    waiting = list(reversed(operators))
    while waiting:
        operator = waiting[-1]
        before = [makers[name] for name in operator.input if name in makers and makers[name].output[0] not in placed]
        if before and operator.output[0] not in placed:
            waiting += before
            continue
        waiting.pop()
        placed.setdefault(operator.output[0], operator)
    return list(placed.values())


def _drop_unread(model: onnx.ModelProto) -> None:
    """Take out constants that nothing reads, and shapes that may not be true any more."""
    read = {name for operator in model.graph.node for name in operator.input}
    read |= {each.name for each in model.graph.output}
    kept = [each for each in model.graph.initializer if each.name in read]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    del model.graph.value_info[:]
