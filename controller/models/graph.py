"""Count what an ONNX graph holds and computes: parameters, multiply-accumulates, operators.

Decides: which constants are parameters and how each operator's MACs follow from shapes. Leaves out: time, which no
count predicts. A free batch counts as one query; other free sizes are an error of the count and named in `uncounted`.

    measure_graph(onnx.load("m.onnx")).macs
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]
_SCALES = frozenset({"QuantizeLinear", "DequantizeLinear"})


@dataclass(frozen=True)
class GraphCounts:
    """What a graph holds. `uncounted`: operators with weights whose MACs are not in `macs`, and why."""

    parameters: int
    macs: int
    operators: dict[str, int]
    uncounted: tuple[str, ...] = ()


def measure_graph(model: onnx.ModelProto) -> GraphCounts:
    """Return the counts of `model` for one query."""
    shapes = infer_shapes(model)
    macs, uncounted = 0, []
    for operator in model.graph.node:
        count = _MACS.get(operator.op_type)
        if count is None:
            inner = {each.op_type for each in _inside(operator)} & _MACS.keys()
            if inner:
                name = operator.name or operator.output[0]
                uncounted.append(f"{operator.op_type} {name}: {', '.join(sorted(inner))} in its graphs")
            continue
        try:
            macs += count(operator, shapes)
        except (KeyError, IndexError):
            uncounted.append(f"{operator.op_type} {operator.name or operator.output[0]}: shape unknown")
    operators = Counter(each.op_type for operator in model.graph.node for each in (operator, *_inside(operator)))
    return GraphCounts(count_parameters(model), macs, dict(sorted(operators.items())), tuple(uncounted))


def macs_of(operator: onnx.NodeProto, shapes: Shapes) -> int:
    """Return the multiply-accumulates of one operator; 0 where it has none, or its shapes are not known."""
    count = _MACS.get(operator.op_type)
    try:
        return 0 if count is None else count(operator, shapes)
    except (KeyError, IndexError):
        return 0


def _inside(operator: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
    """Yield the operators of the graphs that an operator holds, at any depth: whether they run is not known."""
    for attribute in operator.attribute:
        for graph in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
            for inner in graph.node:
                yield inner
                yield from _inside(inner)


def count_parameters(model: onnx.ModelProto) -> int:
    """Count the elements of learned constants: initializers and Constant operators.

    Left out: scales and zero points of quantisation, and integer constants that are shapes, axes or indices.
    """
    import onnx

    support, biases = set(), set()
    for operator in model.graph.node:
        support |= set(operator.input[1:] if operator.op_type in _SCALES else _scale_inputs(operator))
        biases |= {operator.input[0]} if operator.op_type == "DequantizeLinear" else set()
    types = onnx.TensorProto
    learned = {types.FLOAT, types.FLOAT16, types.INT8, types.UINT8, types.INT4, types.UINT4}
    return sum(
        math.prod(tensor.dims)
        for name, tensor in _named_constants(model.graph)
        if name not in support
        and (tensor.data_type in learned or (tensor.data_type == onnx.TensorProto.INT32 and name in biases))
    )


def _named_constants(graph: onnx.GraphProto) -> Iterator[tuple[str, onnx.TensorProto]]:
    """Yield initializers and the tensors of Constant operators under the name by which the graph reads them."""
    yield from ((tensor.name, tensor) for tensor in graph.initializer)
    for operator in graph.node:
        for attribute in operator.attribute:
            if operator.op_type == "Constant" and attribute.HasField("t"):
                yield operator.output[0], attribute.t
            if attribute.HasField("g"):
                yield from _named_constants(attribute.g)


_SCALE_POSITIONS = {
    "ConvInteger": (2, 3),
    "MatMulInteger": (2, 3),
    "QLinearConv": (1, 2, 4, 5, 6, 7),
    "QLinearMatMul": (1, 2, 4, 5, 6, 7),
}


def _scale_inputs(operator: onnx.NodeProto) -> list[str]:
    positions = _SCALE_POSITIONS.get(operator.op_type, ())
    return [operator.input[index] for index in positions if index < len(operator.input)]


def infer_shapes(model: onnx.ModelProto) -> dict[str, Shape]:
    """Return the shape of every tensor whose sizes are known, with the free batch taken as 1."""
    import onnx

    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    for value in (*fixed.graph.input, *fixed.graph.output):
        axes = value.type.tensor_type.shape.dim
        if axes and not (axes[0].HasField("dim_value") and axes[0].dim_value > 0):
            axes[0].dim_value = 1
    del fixed.graph.value_info[:]
    inferred = onnx.shape_inference.infer_shapes(fixed, data_prop=True)
    shapes = {tensor.name: tuple(tensor.dims) for tensor in inferred.graph.initializer}
    for value in (*inferred.graph.value_info, *inferred.graph.input, *inferred.graph.output):
        sizes = [axis.dim_value for axis in value.type.tensor_type.shape.dim]
        if value.type.tensor_type.HasField("shape") and all(sizes):
            shapes[value.name] = tuple(sizes)
    return shapes


def _conv(operator: onnx.NodeProto, shapes: Shapes, weights: int = 1) -> int:
    """Each output element takes (input channels / groups) x kernel MACs: the weight's axes but the first."""
    return math.prod(shapes[operator.output[0]]) * math.prod(shapes[operator.input[weights]][1:])


def _conv_transpose(operator: onnx.NodeProto, shapes: Shapes) -> int:
    """Each input element is spread over (output channels / groups) x kernel."""
    return math.prod(shapes[operator.input[0]]) * math.prod(shapes[operator.input[1]][1:])


def _gemm(operator: onnx.NodeProto, shapes: Shapes) -> int:
    transposed = any(attribute.name == "transA" and attribute.i for attribute in operator.attribute)
    inner = shapes[operator.input[0]][0 if transposed else -1]
    return math.prod(shapes[operator.output[0]]) * inner


def _matmul(operator: onnx.NodeProto, shapes: Shapes) -> int:
    return math.prod(shapes[operator.output[0]]) * shapes[operator.input[0]][-1]


def _recurrent(operator: onnx.NodeProto, shapes: Shapes) -> int:
    """Per step, batch element and direction: every gate's input and recurrent weights once."""
    steps, batch = shapes[operator.input[0]][:2]
    return steps * batch * (math.prod(shapes[operator.input[1]]) + math.prod(shapes[operator.input[2]]))


_MACS: dict[str, Callable[[onnx.NodeProto, Shapes], int]] = {
    "Conv": _conv,
    "ConvInteger": _conv,
    "QLinearConv": lambda operator, shapes: _conv(operator, shapes, weights=3),
    "ConvTranspose": _conv_transpose,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "MatMulInteger": _matmul,
    "QLinearMatMul": _matmul,
    "GRU": _recurrent,
    "LSTM": _recurrent,
    "RNN": _recurrent,
}
