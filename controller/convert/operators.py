"""What a file's operators say: which of them no engine here can have, and how the weights are stored.

Decides: the opsets that are read, that operators of libraries are refused by name, and what a file's precision is
called. Leaves out: whether an engine has a kernel for what is left (`controller/models/sources/engines.py` tries).

    check_operators(onnx.load("m.onnx"), Path("m.onnx"))
    file_precision("tflite", Path("m.tflite"))  # "int8"
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, cast

from controller.errors import UnusableModel

if TYPE_CHECKING:
    import onnx

OLDEST_OPSET = 11
_ENGINE_DOMAINS = ("ai.onnx.ml", "com.microsoft", "com.microsoft.nchwc", "com.ms.internal.nhwc")
"""Domains besides ONNX's own of which ONNX Runtime has operators."""


def opset(model: onnx.ModelProto) -> int:
    """Return the version of ONNX's own operators that a model asks for; 0 where it uses none."""
    return max((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), default=0)


_DYNAMIC = frozenset({"ConvInteger", "DynamicQuantizeLinear", "DynamicQuantizeMatMul", "MatMulInteger"})
_STATIC = frozenset({"QLinearConv", "QLinearMatMul", "QGemm", "QuantizeLinear"})
_COMPUTE = frozenset({"Conv", "ConvTranspose", "GRU", "Gemm", "LSTM", "MatMul", "RNN"})


def check_operators(model: onnx.ModelProto, path: Path) -> None:
    """Refuse operators that no engine here can have: of another opset, or of a library that is loaded by nobody.

    Raises:
        UnusableModel: Expected and given opset, or the operator and its domain.
    """
    import onnx

    given, newest = opset(model), onnx.defs.onnx_opset_version()
    if given and not OLDEST_OPSET <= given <= newest:
        raise UnusableModel(
            f"{path}: opset {given}, {OLDEST_OPSET} to {newest} are read; export the model with opset 17 to 20, or "
            f"bring it there with onnx.version_converter.convert_version"
        )
    foreign = foreign_operators(model)
    if foreign:
        (name, domain), *others = foreign
        more = f", nor {', '.join(f'{name} of {domain}' for name, domain in others[:5])}" if others else ""
        raise UnusableModel(
            f"{path}: no engine here has operator {name} of domain {domain!r}{more}; export with standard operators: "
            f"libraries of custom ones are never loaded"
        )


def foreign_operators(model: onnx.ModelProto) -> list[tuple[str, str]]:
    """Return operator and domain of what neither ONNX, an engine, nor the file itself defines; each once."""
    own = {(function.domain, function.name) for function in model.functions}
    known = ("", "ai.onnx", *_ENGINE_DOMAINS)
    graphs = [model.graph.node, *(function.node for function in model.functions)]
    used = dict.fromkeys((each.domain, each.op_type) for operators in graphs for each in _every_operator(operators))
    return [(name, domain) for domain, name in used if domain not in known and (domain, name) not in own]


def _every_operator(operators: object) -> Iterator[onnx.NodeProto]:
    """Yield operators, and those of the graphs that they hold."""
    for operator in cast("list[onnx.NodeProto]", operators):
        yield operator
        for attribute in operator.attribute:
            for graph in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from _every_operator(graph.node)


def file_precision(form: str, path: Path) -> str:
    """Return `float32`, `float16`, `int8`, `int8-dynamic`, `int8-weights` or `int4-weights`, as in a variant.

    Raises:
        UnusableModel: Not a file of that format.
    """
    if form == "tflite":
        from controller.convert.tflite import read_tflite

        return read_tflite(path).precision
    if form != "onnx":
        return "float32"
    from controller.convert.onnx_io import parse_onnx

    return onnx_precision(parse_onnx(path))


def onnx_precision(model: onnx.ModelProto) -> str:
    """Return how an ONNX model's weights are stored."""
    import onnx

    used = {operator.op_type for operator in model.graph.node}
    if used & _DYNAMIC:
        return "int8-dynamic"
    if used & _STATIC:
        return "int8"
    if "DequantizeLinear" in used or "MatMulNBits" in used:
        small = {onnx.TensorProto.INT4, onnx.TensorProto.UINT4}
        return "int4-weights" if any(each.data_type in small for each in model.graph.initializer) else "int8-weights"
    weights = {tensor.name: tensor.data_type for tensor in model.graph.initializer if tensor.dims}
    read = [name for operator in model.graph.node if operator.op_type in _COMPUTE for name in operator.input[1:]]
    halves = [weights[name] == onnx.TensorProto.FLOAT16 for name in read if name in weights]
    return "float16" if halves and all(halves) else "float32"
