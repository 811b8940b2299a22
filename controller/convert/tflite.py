"""TFLite: signature, parameters and multiply-accumulates, read from the flatbuffer without an interpreter.

Decides: which constants count as parameters and how operators are counted. Leaves out: running it (the agent's engine).

    read_tflite(Path("m.tflite")).signature.input().quantisation
"""

import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from controller.convert.signature import Signature, check_readable
from controller.errors import UnusableModel
from wire.spec import DType, Quantisation, TensorSpec

_IDENTIFIER = b"TFL3"  # bytes 4 to 8 of every TFLite file
_WEIGHT_INPUTS = {"CONV_2D": 1, "DEPTHWISE_CONV_2D": 1, "FULLY_CONNECTED": 1, "TRANSPOSE_CONV": 1, "BATCH_MATMUL": 1}


@dataclass(frozen=True)
class TfliteFacts:
    """What a TFLite file says of itself. `uncounted` names operators with weights whose MACs are not counted."""

    signature: Signature
    parameters: int
    macs: int
    operators: dict[str, int]
    float_operators: int
    quantised_operators: int
    uncounted: tuple[str, ...]


def read_tflite(path: Path) -> TfliteFacts:
    """Return the facts of a TFLite file.

    Raises:
        UnusableModel: Not a TFLite file, truncated, or with a tensor type that no bundle carries.
    """
    check_readable(path)
    content = path.read_bytes()
    if content[4:8] != _IDENTIFIER:
        raise UnusableModel(f"{path}: not a TFLite file; export the model again")
    model = _parse(content, path)
    graph = model.subgraphs[0]
    names = [_operator_name(model, operator) for operator in graph.operators]
    compute = [
        (name, operator) for name, operator in zip(names, graph.operators, strict=True) if name in _WEIGHT_INPUTS
    ]
    precisions = Counter(_is_integer(graph, operator) for _, operator in compute)
    return TfliteFacts(
        signature=Signature(
            tuple(_tensor_spec(graph.tensors[index], path) for index in graph.inputs),
            tuple(_tensor_spec(graph.tensors[index], path) for index in graph.outputs),
        ),
        parameters=_parameters(model, graph),
        macs=sum(_macs(name, graph, operator) for name, operator in compute),
        operators=dict(sorted(Counter(names).items())),
        float_operators=precisions[False],
        quantised_operators=precisions[True],
        uncounted=tuple(sorted({name for name in names if "LSTM" in name or "RNN" in name or name == "CONV_3D"})),
    )


def _parse(content: bytes, path: Path) -> Any:
    from ai_edge_litert import schema_py_generated as schema

    try:
        model = schema.ModelT.InitFromPackedBuf(content, 0)
    except Exception as exc:  # flatbuffers raises struct.error, TypeError, ValueError, ... on a broken buffer
        raise UnusableModel(
            f"{path}: a broken TFLite file ({type(exc).__name__}: {exc}); export the model again"
        ) from exc
    if not model.subgraphs or not model.subgraphs[0].operators:
        raise UnusableModel(f"{path}: a TFLite file without operators; export the model again")
    return model


def _operator_name(model: Any, operator: Any) -> str:
    from ai_edge_litert import schema_py_generated as schema

    code = model.operatorCodes[operator.opcodeIndex]
    number = max(code.builtinCode, code.deprecatedBuiltinCode)
    names = {value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)}
    return str(names.get(number, f"OPERATOR_{number}"))


def _tensor_spec(tensor: Any, path: Path) -> TensorSpec:
    from ai_edge_litert import schema_py_generated as schema

    dtypes: dict[int, DType] = {
        schema.TensorType.FLOAT32: "float32",
        schema.TensorType.FLOAT16: "float16",
        schema.TensorType.INT8: "int8",
        schema.TensorType.UINT8: "uint8",
    }
    name = tensor.name.decode()
    if tensor.type not in dtypes:
        raise UnusableModel(
            f"{path}: {name!r} has tensor type {tensor.type}; float32, float16, int8, uint8 are supported"
        )
    free = tensor.shapeSignature if tensor.shapeSignature is not None else tensor.shape
    shape = tuple(int(size) for size in free)
    return TensorSpec(name=name, shape=shape, dtype=dtypes[tensor.type], quantisation=_quantisation(tensor))


def _quantisation(tensor: Any) -> Quantisation | None:
    affine = tensor.quantization
    if affine is None or affine.scale is None or len(affine.scale) != 1:
        return None
    zero_point = int(affine.zeroPoint[0]) if affine.zeroPoint is not None and len(affine.zeroPoint) else 0
    return Quantisation(scale=float(affine.scale[0]), zero_point=zero_point)


def _elements(tensor: Any) -> int:
    return math.prod(int(size) for size in tensor.shape) if tensor.shape is not None else 1


def _parameters(model: Any, graph: Any) -> int:
    """Count the elements of constant tensors that are read as weights or biases: input 1 and 2 of compute operators."""
    constants = {index for index, tensor in enumerate(graph.tensors) if _has_content(model, tensor)}
    restored = _restored_weights(model, graph, constants)
    weights = set()
    for operator in graph.operators:
        if _operator_name(model, operator) in _WEIGHT_INPUTS:
            weights |= {restored.get(int(index), int(index)) for index in operator.inputs if int(index) >= 0}
    arithmetic = {"ADD", "MUL", "SUB", "DIV", "PRELU"}
    for operator in graph.operators:
        if _operator_name(model, operator) in arithmetic:
            weights |= {restored.get(int(index), int(index)) for index in operator.inputs}
    return sum(_elements(graph.tensors[index]) for index in weights & constants)


def _restored_weights(model: Any, graph: Any, constants: set[int]) -> dict[int, int]:
    """Map a tensor that a DEQUANTIZE restores from a constant to that constant."""
    return {
        int(operator.outputs[0]): int(operator.inputs[0])
        for operator in graph.operators
        if _operator_name(model, operator) == "DEQUANTIZE" and int(operator.inputs[0]) in constants
    }


def _has_content(model: Any, tensor: Any) -> bool:
    content = model.buffers[tensor.buffer]
    return (content.data is not None and len(content.data) > 0) or content.size > 0


def _is_integer(graph: Any, operator: Any) -> bool:
    """Tell whether an operator computes in integers.

    Its weights are stored as int8, or fewer bits, and read directly.
    """
    from ai_edge_litert import schema_py_generated as schema

    weights = graph.tensors[operator.inputs[1]]
    return weights.type in {schema.TensorType.INT8, schema.TensorType.UINT8, schema.TensorType.INT4}


def _macs(name: str, graph: Any, operator: Any) -> int:
    """Multiply-accumulates of one query."""
    weights = [int(size) for size in graph.tensors[operator.inputs[1]].shape]
    outputs = [int(size) for size in graph.tensors[operator.outputs[0]].shape]
    if name == "CONV_2D":  # weights (out, height, width, in)
        return math.prod(outputs) * math.prod(weights[1:])
    if name == "DEPTHWISE_CONV_2D":  # weights (1, height, width, channels)
        return math.prod(outputs) * weights[1] * weights[2]
    if name == "TRANSPOSE_CONV":  # inputs: shape, weights, image
        return _elements(graph.tensors[operator.inputs[2]]) * math.prod(weights[:3])
    if name == "FULLY_CONNECTED":  # weights (out, in)
        return math.prod(outputs) * weights[-1]
    return math.prod(outputs) * int(graph.tensors[operator.inputs[0]].shape[-1])  # BATCH_MATMUL
