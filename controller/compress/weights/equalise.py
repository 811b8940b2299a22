"""Give the channels between two operators equal ranges, so that one scale for all of them loses less.

    equalised = equalise(model)  # the same function, ready for int8

Decides: between which operators a channel can be scaled: from one that makes it, through operators that pass a positive
factor on, to one that alone reads it. "Data-Free Quantization Through Weight Equalization and Bias Correction" (Nagel
et al., 2019), here also across depthwise convolutions. Leaves out: ReLU6, which stops at 6 whatever the scale.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from controller.compress.weights.operators import Weighted, attributes, replace_values, values_of, weighted

if TYPE_CHECKING:
    import onnx

EACH_ALONE = frozenset({"Relu", "LeakyRelu", "PRelu", "Identity", "Dropout"})
"""f(s x) = s f(x) for s > 0, number by number."""
OVER_PLACES = frozenset({"MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool"})
"""The same, over the places of each channel of a convolution."""
TO_A_ROW = frozenset({"Flatten", "ReduceMean", "ReduceMax"})
"""The same, and after it channels are the last axis."""
ROUNDS, ENOUGH = 40, 1e-4
LARGEST_FACTOR = 1e4
"""A channel that is never used would otherwise be scaled without bound."""


@dataclass(frozen=True)
class Pair:
    """Two operators, of which the second alone reads what the first makes."""

    first: Weighted
    bias: str | None
    second: Weighted


def equalise(model: onnx.ModelProto) -> tuple[onnx.ModelProto, int]:
    """Return a model that computes the same, and how many pairs of operators were equalised.

    Args:
        model: Float, its constants among the initialisers; not changed.
    """
    import onnx

    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    found = pairs(changed)
    for _ in range(ROUNDS):
        if max((_scaled(changed, pair) for pair in found), default=0.0) < ENOUGH:
            break
    return changed, len(found)


def pairs(model: onnx.ModelProto) -> list[Pair]:
    """Return the pairs between which channels can be scaled, in the graph's order."""
    own = {each.index: each for each in weighted(model) if not each.shared}
    found = []
    for index, first in own.items():
        if first.kind == "ConvTranspose":
            continue
        operator = model.graph.node[index]
        bias = operator.input[2] if len(operator.input) > 2 and operator.input[2] else None
        second = own.get(_reader(model, first))
        if second is not None and _reads_alone(model, second) and _is_scaled(model, bias, first):
            found.append(Pair(first, bias, second))
    return found


def _reader(model: onnx.ModelProto, first: Weighted) -> int:
    """Return the index of the operator that alone reads what `first` makes, through those that pass factors on; or -1.

    A convolution's channels are the second axis, a product's the last; who reads must find them there.
    """
    value, in_a_row = model.graph.node[first.index].output[0], first.kind != "Conv"
    outputs = {each.name for each in model.graph.output}
    while True:
        readers = [(index, each) for index, each in enumerate(model.graph.node) if value in each.input]
        if len(readers) != 1 or value in outputs or readers[0][1].input[0] != value:
            return -1
        index, reader = readers[0]
        if reader.op_type in ("Conv", "Gemm", "MatMul"):
            return index if (reader.op_type != "Conv") == in_a_row else -1
        if reader.op_type in TO_A_ROW and not in_a_row and _leaves_rows(model, reader, first):
            in_a_row = True
        elif reader.op_type not in EACH_ALONE and (in_a_row or reader.op_type not in OVER_PLACES):
            return -1
        value = reader.output[0]


def _leaves_rows(model: onnx.ModelProto, reader: onnx.NodeProto, first: Weighted) -> bool:
    """Whether a row for each query is left, each channel's numbers behind each other."""
    rank = values_of(model, first.weight).ndim
    given = attributes(reader)
    if reader.op_type == "Flatten":
        return bool(given.get("axis", 1) == 1)
    axes = given.get("axes")
    if axes is None and len(reader.input) > 1 and any(each.name == reader.input[1] for each in model.graph.initializer):
        axes = values_of(model, reader.input[1]).tolist()
    return given.get("keepdims", 1) == 0 and sorted(axis % rank for axis in axes or ()) == list(range(2, rank))


def _is_scaled(model: onnx.ModelProto, bias: str | None, first: Weighted) -> bool:
    """Whether an operator's bias, where it has one, is its own and has a number for each channel."""
    if bias is None:
        return True
    own = sum(list(each.input).count(bias) for each in model.graph.node) == 1
    shape = next((tuple(each.dims) for each in model.graph.initializer if each.name == bias), ())
    return own and shape[-1:] == (values_of(model, first.weight).shape[first.made],)


def _reads_alone(model: onnx.ModelProto, second: Weighted) -> bool:
    """Whether each channel is read by columns of its own."""
    return second.groups == 1 or (second.kind == "Conv" and values_of(model, second.weight).shape[1] == 1)


def _read_axis(second: Weighted) -> int:
    """Return the axis of the weight that goes with the channels which it reads."""
    if second.kind == "Conv":
        return 0 if second.groups > 1 else 1
    return 1 - second.made


def columns_of(second: Weighted, values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return what reads each channel, a row for each."""
    axis = _read_axis(second)
    return np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1)


def _scaled(model: onnx.ModelProto, pair: Pair) -> float:
    """Scale a pair's channels once; return how far the scales were from 1."""
    made, read = values_of(model, pair.first.weight), values_of(model, pair.second.weight)
    rows, columns = pair.first.matrix(made), columns_of(pair.second, read)
    if len(rows) == 0 or len(columns) % len(rows):
        return 0.0
    places = len(columns) // len(rows)  # channels laid out in a row, or a depthwise multiplier
    highest = np.abs(rows).max(axis=1).astype(np.float64)
    lowest = np.abs(columns).reshape(len(rows), -1).max(axis=1).astype(np.float64)
    used = (highest > 0) & (lowest > 0)
    scale = np.ones(len(rows))
    scale[used] = np.clip(np.sqrt(highest[used] / lowest[used]), 1 / LARGEST_FACTOR, LARGEST_FACTOR)
    _apply(model, pair, scale, np.repeat(scale, places))
    return float(np.abs(scale - 1).max())


def _apply(model: onnx.ModelProto, pair: Pair, scale: NDArray[np.float64], repeated: NDArray[np.float64]) -> None:
    made, read = values_of(model, pair.first.weight), values_of(model, pair.second.weight)
    out = [1] * made.ndim
    out[pair.first.made] = -1
    replace_values(model, pair.first.weight, made / scale.reshape(out))
    if pair.bias is not None:
        replace_values(model, pair.bias, values_of(model, pair.bias) / scale)
    into = [1] * read.ndim
    into[_read_axis(pair.second)] = -1
    replace_values(model, pair.second.weight, read * repeated.reshape(into))
