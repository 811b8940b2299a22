"""What TensorRT's ONNX parser takes, as far as a graph tells without a GPU.

Decides: which graphs are refused here because they would be refused there, and which only cost speed. From the parser's
table of operators and the chapter on explicit quantisation of TensorRT's developer guide; a device builds the engine
and has the last word. Leaves out: memory, tactics, and whether an operator has a kernel for a shape.

    faults(onnx.load("int8.onnx"))  # () when the parser should take it
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from controller.convert.onnx_io import constant_tensors

if TYPE_CHECKING:
    import onnx

OPSETS = range(9, 21)
"""TensorRT 8.5 and 8.6 read to opset 17, 10 to 20."""
NEEDS_10 = 18

UNSUPPORTED = frozenset(
    {
        *("BitShift", "Bernoulli", "Compress", "ConcatFromSequence", "ConvInteger", "DFT", "Det"),
        *("DynamicQuantizeLinear", "HammingWindow", "HannWindow", "MatMulInteger", "MaxRoiPool", "MaxUnpool"),
        *("MelWeightMatrix", "Multinomial", "NegativeLogLikelihoodLoss", "Optional", "OptionalGetElement"),
        *("OptionalHasElement", "QLinearConv", "QLinearMatMul", "RandomNormal", "RandomNormalLike", "STFT"),
        *("SequenceAt", "SequenceConstruct", "SequenceEmpty", "SequenceErase", "SequenceInsert", "SequenceLength"),
        *("SequenceMap", "SoftmaxCrossEntropyLoss", "SplitToSequence", "StringNormalizer", "TfIdfVectorizer", "Unique"),
    }
)
WEIGHTED = {"Conv": 0, "ConvTranspose": 1, "Gemm": 1, "MatMul": 1}
"""Operators with weights, and the axis of the weights' output channels; of a Gemm with `transB` it is 0."""

LARGEST_INT32 = 2**31 - 1
_ENDLESS = frozenset({2**63 - 1, -(2**63), -(2**63) + 1})
"""What stands for "to the end" in slices: cut down to 32 bits it means the same."""

Constants = Mapping[str, NDArray[np.generic]]


def faults(model: onnx.ModelProto) -> tuple[str, ...]:
    """Return why the parser would refuse a graph; empty where nothing is known against it."""
    constants = _constants(model)
    return (*_opset_faults(model), *_operator_faults(model), *_number_faults(model), *_scale_faults(model, constants))


def notes(model: onnx.ModelProto) -> tuple[str, ...]:
    """Return what costs speed or asks for a newer TensorRT."""
    found = []
    if _opset(model) >= NEEDS_10:
        found.append(f"opset {_opset(model)}: needs TensorRT 10")
    if half := sorted(_half_quantised(model)):
        found.append(f"computed in float, since only one side is quantised: {', '.join(half)}")
    if split := sorted(_quantised_before_activation(model)):
        found.append(f"quantised between a weighted operator and its activation, which are then not fused: {split[0]}")
    return tuple(found)


def _opset(model: onnx.ModelProto) -> int:
    return max((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), default=0)


def _opset_faults(model: onnx.ModelProto) -> Iterator[str]:
    if _opset(model) not in OPSETS:
        yield f"opset {_opset(model)}; {OPSETS[0]} to {OPSETS[-1]} are read"


def _operator_faults(model: onnx.ModelProto) -> Iterator[str]:
    used = {(each.domain, each.op_type) for each in model.graph.node}
    foreign = sorted(f"{domain}:{name}" for domain, name in used if domain not in ("", "ai.onnx"))
    refused = sorted(name for domain, name in used if domain in ("", "ai.onnx") and name in UNSUPPORTED)
    if foreign:
        yield f"operators of other domains: {', '.join(foreign)}"
    if refused:
        yield f"operators that TensorRT's parser lacks: {', '.join(refused)}"


def _number_faults(model: onnx.ModelProto) -> Iterator[str]:
    """64-bit integers are cut down to 32 bits."""
    for name, values in _constants(model).items():
        if values.dtype != np.int64 or not values.size:
            continue
        large = values[np.abs(values.astype(np.float64)) > LARGEST_INT32]
        if any(int(value) not in _ENDLESS for value in large.reshape(-1)):
            yield f"the constant {name!r} holds integers of more than 32 bits"


def _scale_faults(model: onnx.ModelProto, constants: Constants) -> Iterator[str]:
    """Scales are positive constants, zero points are 0, quantised numbers are int8: biases and uint8 are not taken."""
    for each in model.graph.node:
        if each.op_type not in ("QuantizeLinear", "DequantizeLinear"):
            continue
        where = f"{each.op_type} {each.name or each.output[0]!r}"
        scale = constants.get(each.input[1])
        if scale is None:
            yield f"{where}: its scale is no constant"
        elif not (np.isfinite(scale).all() and (scale > 0).all()):  # type: ignore[operator]
            yield f"{where}: a scale is not above 0"
        zero = constants.get(each.input[2]) if len(each.input) > 2 and each.input[2] else None
        if zero is None:
            yield f"{where}: without a zero point its type is uint8, int8 is needed"
        elif zero.dtype != np.int8 or zero.any():
            yield f"{where}: its zero point is {zero.dtype} {zero.reshape(-1)[0]}, int8 0 is needed"


def _half_quantised(model: onnx.ModelProto) -> Iterator[str]:
    """Weighted operators with quantised weights and float inputs, or the other way round."""
    quantised = {each.output[0] for each in model.graph.node if each.op_type == "DequantizeLinear"}
    for each in model.graph.node:
        if each.op_type in WEIGHTED and len({name in quantised for name in each.input[:2]}) == 2:
            yield each.name or each.output[0]


def _quantised_before_activation(model: onnx.ModelProto) -> Iterator[str]:
    makers = {name: each for each in model.graph.node for name in each.output}
    for each in model.graph.node:
        if each.op_type not in ("Relu", "Clip", "LeakyRelu", "HardSwish", "Sigmoid"):
            continue
        before = makers.get(each.input[0])
        quantiser = makers.get(before.input[0]) if before is not None and before.op_type == "DequantizeLinear" else None
        maker = makers.get(quantiser.input[0]) if quantiser is not None else None
        if maker is not None and maker.op_type in WEIGHTED:
            yield each.name or each.output[0]


def _constants(model: onnx.ModelProto) -> dict[str, NDArray[np.generic]]:
    from onnx import numpy_helper

    found = {tensor.name: numpy_helper.to_array(tensor) for tensor in constant_tensors(model) if tensor.name}
    for each in model.graph.node:
        if each.op_type == "Constant":
            for attribute in each.attribute:
                if attribute.name == "value":
                    found[each.output[0]] = numpy_helper.to_array(attribute.t)
    return found
