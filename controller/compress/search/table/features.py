"""What of a model file takes time: multiply-accumulates, elements and operators, by kind of operator and precision.

Decides: the names and units of features. Leaves out: what each costs (`fit.py`). Counts are of the file, not of the
graph that an engine makes of it: pairs of QuantizeLinear and DequantizeLinear around an operator make it `int8`.

    features_of("onnx", path)["macs.conv.int8@onnxruntime"]  # 1.9, in millions
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from controller.compress.variant import Variant
from controller.convert.onnx_io import parse_onnx
from controller.errors import UnusableModel
from controller.models.graph import Shape, infer_shapes, macs_of

if TYPE_CHECKING:
    import onnx

Features = Mapping[str, float]

MILLION = 1e6
QUERY = "query"
"""1 for every file: what a query costs before and behind the network."""

_DENSE = frozenset({"Gemm", "MatMul", "MatMulInteger", "QLinearMatMul", "MatMulNBits"})
_CONVOLVES = frozenset({"Conv", "ConvInteger", "QLinearConv", "ConvTranspose"})
_INTEGER = frozenset({"ConvInteger", "MatMulInteger"})
_SCALES = frozenset({"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"})
_SILENT = frozenset({"Constant", "Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze"})
"""Operators that move nothing."""


def variant_features(variant: Variant) -> Features:
    """Return the features of a variant's file; only `query`, where nothing of it can be counted."""
    try:
        found = features_of(variant.format, variant.model_file, variant.precision)
    except UnusableModel:
        found = {QUERY: 1.0}
    return {name if name == QUERY else f"{name}@{variant.engine}": value for name, value in found.items()}


def features_of(form: str, path: Path, precision: str = "float32") -> Features:
    """Return the features of a model file.

    Args:
        form: `onnx`, `tflite`; of others nothing is counted.
        path: The file.
        precision: In which its operators compute, where the file's format does not tell them apart.
    Returns:
        Name -> value: `macs.KIND.PRECISION` and `elements.KIND.PRECISION` [millions], `operators.KIND`, `query` 1.
    Raises:
        UnusableModel: The file is damaged.
    """
    if form == "onnx":
        return _of_onnx(parse_onnx(path))
    return _of_tflite(path, precision) if form == "tflite" else {QUERY: 1.0}


def _of_onnx(model: onnx.ModelProto) -> Features:
    shapes, found = infer_shapes(model), defaultdict[str, float](float, {QUERY: 1.0})
    makers = {name: each for each in model.graph.node for name in each.output}
    halves = {each.name for each in model.graph.initializer if each.data_type == each.FLOAT16}
    for operator in model.graph.node:
        if operator.op_type in _SILENT or operator.op_type in _SCALES:
            continue
        kind = _kind(operator, shapes)
        sort = _precision(operator, makers, halves)
        found[f"operators.{kind}"] += 1
        for name, count in (("macs", macs_of(operator, shapes)), ("elements", _elements(operator, shapes))):
            if count:
                found[f"{name}.{kind}.{sort}"] += count / MILLION
    return dict(found)


def _kind(operator: onnx.NodeProto, shapes: Mapping[str, Shape]) -> str:
    if operator.op_type in _DENSE:
        return "dense"
    if operator.op_type in ("GRU", "LSTM", "RNN"):
        return "recurrent"
    if operator.op_type not in _CONVOLVES:
        return "other"
    weights = shapes.get(operator.input[3 if operator.op_type == "QLinearConv" else 1], ())
    groups = next((each.i for each in operator.attribute if each.name == "group"), 1)
    return "depthwise" if groups > 1 and len(weights) > 1 and weights[1] == 1 else "conv"


def _precision(operator: onnx.NodeProto, makers: Mapping[str, onnx.NodeProto], halves: set[str]) -> str:
    if operator.op_type in _INTEGER:
        return "dynamic"
    if operator.op_type.startswith("QLinear"):
        return "int8"
    reads = [makers[name].op_type for name in operator.input[:2] if name in makers]
    if reads and all(each == "DequantizeLinear" for each in reads):
        return "int8"
    return "float16" if halves.intersection(operator.input) else "float32"


def _elements(operator: onnx.NodeProto, shapes: Mapping[str, Shape]) -> int:
    """Return how many numbers an operator reads and writes, weights included."""
    return sum(math.prod(shapes[name]) for name in (*operator.input, *operator.output) if name in shapes)


def _of_tflite(path: Path, precision: str) -> Features:
    from controller.convert.tflite import read_tflite

    facts = read_tflite(path)
    compute = facts.quantised_operators + facts.float_operators
    others = sum(facts.operators.values()) - compute
    return {
        QUERY: 1.0,
        f"macs.all.{precision}": facts.macs / MILLION,
        "operators.compute": float(compute),
        "operators.other": float(others),
    }
