"""The operators of an ONNX graph that hold most weights: convolutions and products with a constant.

Decides: which axis of a weight makes outputs and which reads inputs. Leaves out: what is done to the weight.

    for each in weighted(model):
        each.matrix(values)  # a row for each output
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import onnx

KINDS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})


@dataclass(frozen=True)
class Weighted:
    """An operator with a constant weight.

    index: its place in the graph. made: axis of the outputs. shared: the weight is read elsewhere too. groups: of a
    convolution, else 1.
    """

    index: int
    name: str
    kind: str
    weight: str
    made: int
    shared: bool
    groups: int = 1

    def matrix(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return the weight with a row for each output and a column for each number that it reads."""
        return np.moveaxis(values, self.made, 0).reshape(values.shape[self.made], -1)

    def restored(self, matrix: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
        """Return a matrix in the weight's own shape again."""
        moved = (shape[self.made], *shape[: self.made], *shape[self.made + 1 :])
        return np.ascontiguousarray(np.moveaxis(matrix.reshape(moved), 0, self.made))


def weighted(model: onnx.ModelProto) -> list[Weighted]:
    """Return the operators with a constant float weight, in the graph's order; stacks of matrices are none."""
    from onnx import TensorProto

    constants = {each.name: each for each in model.graph.initializer if each.data_type == TensorProto.FLOAT}
    read = Counter(name for operator in model.graph.node for name in operator.input)
    read.update(each.name for each in model.graph.output)
    found = []
    for index, operator in enumerate(model.graph.node):
        weight = operator.input[1] if operator.op_type in KINDS and len(operator.input) > 1 else ""
        if weight not in constants or not _is_plain(operator, len(constants[weight].dims)):
            continue
        made = _made(operator, len(constants[weight].dims))
        name = operator.name or operator.output[0]
        shared = read[weight] > 1
        found.append(Weighted(index, name, operator.op_type, weight, made, shared, _number(operator, "group", 1)))
    return found


def values_of(model: onnx.ModelProto, name: str) -> NDArray[Any]:
    """Return a constant's values."""
    from onnx import numpy_helper

    tensor = next(each for each in model.graph.initializer if each.name == name)
    return np.asarray(numpy_helper.to_array(tensor))


def replace_values(model: onnx.ModelProto, name: str, values: NDArray[Any]) -> None:
    """Give a constant other values; its type stays."""
    from onnx import numpy_helper

    tensor = next(each for each in model.graph.initializer if each.name == name)
    dtype = numpy_helper.to_array(tensor).dtype
    tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(values, dtype=dtype), name))


def attributes(operator: onnx.NodeProto) -> dict[str, Any]:
    """Return an operator's attributes as plain values."""
    from onnx import helper

    return {each.name: helper.get_attribute_value(each) for each in operator.attribute}


def _is_plain(operator: onnx.NodeProto, rank: int) -> bool:
    """Whether the weight is a matrix, or a convolution's, and reads rows of the first input."""
    if operator.op_type in ("Gemm", "MatMul"):
        return rank == 2 and not _number(operator, "transA", 0)
    return rank > 2


def _made(operator: onnx.NodeProto, rank: int) -> int:
    if operator.op_type == "Conv":
        return 0
    if operator.op_type == "Gemm":
        return 0 if _number(operator, "transB", 0) else 1
    return 1 if operator.op_type == "ConvTranspose" else rank - 1


def _number(operator: onnx.NodeProto, name: str, default: int) -> int:
    return next((int(each.i) for each in operator.attribute if each.name == name), default)
