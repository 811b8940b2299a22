"""TFLite: signature, parameters and multiply-accumulates, read from the flatbuffer without an interpreter.

Decides: which constants count as parameters and how operators are counted. Leaves out: running it (the agent's engine).

    read_tflite(Path("m.tflite")).signature.input().quantisation
"""

import math
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from controller.convert.signature import Signature, check_readable, described
from controller.errors import UnusableModel
from wire.spec import DType, Quantisation, TensorSpec

_IDENTIFIER = b"TFL3"  # bytes 4 to 8 of every TFLite file
_WEIGHT_INPUTS = {"CONV_2D": 1, "DEPTHWISE_CONV_2D": 1, "FULLY_CONNECTED": 1, "TRANSPOSE_CONV": 1, "BATCH_MATMUL": 1}


@dataclass(frozen=True)
class TfliteFacts:
    """What a TFLite file says of itself.

    operators: Custom ones as `CUSTOM NAME`, those of TensorFlow itself as `CUSTOM FlexNAME`. precision: `float32`,
    `float16` and `int8-weights` (stored so, computed in float32), `int8-dynamic`, or `int8` (activations too).
    uncounted: Operators with weights whose MACs are not counted. keeps_state: It carries state over calls itself.
    """

    signature: Signature
    parameters: int
    macs: int
    operators: dict[str, int]
    float_operators: int
    quantised_operators: int
    uncounted: tuple[str, ...]
    precision: str
    keeps_state: bool


def read_tflite(path: Path) -> TfliteFacts:
    """Return the facts of a TFLite file.

    Raises:
        UnusableModel: Not a TFLite file, truncated, or with a tensor type that no bundle carries.
    """
    check_readable(path)
    content = path.read_bytes()
    if content[4:8] != _IDENTIFIER:
        raise UnusableModel(f"{path}: not a TFLite file; export the model again")
    model = parse_tflite(content, path)
    with _whole(path):
        return _facts(model, path)


def _facts(model: Any, path: Path) -> TfliteFacts:
    graph = model.subgraphs[0]
    names = [operator_name(model, operator) for operator in graph.operators]
    compute = [
        (name, operator) for name, operator in zip(names, graph.operators, strict=True) if name in _WEIGHT_INPUTS
    ]
    precisions = Counter(_is_integer(graph, operator) for _, operator in compute)
    return TfliteFacts(
        signature=_signature(graph, path),
        parameters=_parameters(model, graph),
        macs=sum(_macs(name, graph, operator) for name, operator in compute),
        operators=dict(sorted(Counter(names).items())),
        float_operators=precisions[False],
        quantised_operators=precisions[True],
        uncounted=tuple(sorted({name for name in names if "LSTM" in name or "RNN" in name or name == "CONV_3D"})),
        precision=_precision(model, graph, compute),
        keeps_state="VAR_HANDLE" in names or any(tensor.isVariable for tensor in graph.tensors),
    )


def check_finite(path: Path) -> None:
    """Refuse weights that are not numbers.

    Raises:
        UnusableModel: A NaN or an infinity among the weights; the text names the tensor.
    """
    model = parse_tflite(path.read_bytes(), path)
    with _whole(path):
        for tensor in (tensor for graph in model.subgraphs for tensor in graph.tensors):
            values = constant(model, tensor)
            if values is not None and values.dtype.kind == "f" and not np.isfinite(values).all():
                name = tensor.name.decode(errors="replace")
                raise UnusableModel(f"{path}: the weights {name!r} hold NaN or infinite values; train or export again")


@contextmanager
def _whole(path: Path) -> Iterator[None]:
    """Take a place that leads nowhere, or a size that cannot be, for what it is: a damaged file.

    Raises:
        UnusableModel: The file is broken.
    """
    try:
        yield
    except (AttributeError, IndexError, MemoryError, OverflowError, TypeError, ValueError) as exc:
        raise UnusableModel(
            f"{path}: a broken TFLite file ({type(exc).__name__}: {exc}); export the model again"
        ) from exc


def parse_tflite(content: bytes, path: Path) -> Any:
    """Return a file's content as the object tree of its schema.

    Raises:
        UnusableModel: It is broken, or has no operators.
    """
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


def operator_name(model: Any, operator: Any) -> str:
    from ai_edge_litert import schema_py_generated as schema

    code = model.operatorCodes[operator.opcodeIndex]
    number = max(code.builtinCode, code.deprecatedBuiltinCode)
    if number == schema.BuiltinOperator.CUSTOM:
        return f"CUSTOM {(code.customCode or b'without a name').decode()}"
    names = {value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)}
    return str(names.get(number, f"OPERATOR_{number}"))


def _signature(graph: Any, path: Path) -> Signature:
    """Return inputs and outputs; outputs of types that no answer is read from are left out where others remain."""
    outputs = [graph.tensors[index] for index in graph.outputs]
    read = [tensor for tensor in outputs if _dtype(tensor) in ("float32", "float16", "int8", "uint8")]
    return Signature(
        tuple(_tensor_spec(graph.tensors[index], path) for index in graph.inputs),
        tuple(_tensor_spec(tensor, path) for tensor in read or outputs),
    )


def _dtype(tensor: Any) -> DType | None:
    from ai_edge_litert import schema_py_generated as schema

    kinds = schema.TensorType
    dtypes: dict[int, DType] = {
        kinds.FLOAT32: "float32",
        kinds.FLOAT16: "float16",
        kinds.INT8: "int8",
        kinds.UINT8: "uint8",
        kinds.INT32: "int32",
        kinds.INT64: "int64",
    }
    return dtypes.get(tensor.type)


def _tensor_spec(tensor: Any, path: Path) -> TensorSpec:
    name, dtype = tensor.name.decode(), _dtype(tensor)
    if dtype is None:
        raise UnusableModel(
            f"{path}: {name!r} has tensor type {tensor.type}; float32, float16, int8, uint8, int32, int64 are supported"
        )
    free = tensor.shapeSignature if tensor.shapeSignature is not None else tensor.shape
    shape = tuple(int(size) for size in free) if free is not None else ()
    try:
        return described(name, shape, dtype, _quantisation(tensor))
    except ValidationError as exc:
        fault = exc.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")
        raise UnusableModel(f"{path}: no bundle carries the tensor {name!r}: {fault}; export the model again") from exc


def _quantisation(tensor: Any) -> Quantisation | None:
    affine = tensor.quantization
    if affine is None or affine.scale is None or len(affine.scale) != 1 or affine.scale[0] <= 0:
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
        if operator_name(model, operator) in _WEIGHT_INPUTS:
            weights |= {restored.get(int(index), int(index)) for index in operator.inputs if int(index) >= 0}
    arithmetic = {"ADD", "MUL", "SUB", "DIV", "PRELU"}
    for operator in graph.operators:
        if operator_name(model, operator) in arithmetic:
            weights |= {restored.get(int(index), int(index)) for index in operator.inputs}
    return sum(_elements(graph.tensors[index]) for index in weights & constants)


def _restored_weights(model: Any, graph: Any, constants: set[int]) -> dict[int, int]:
    """Map a tensor that a DEQUANTIZE restores from a constant to that constant."""
    return {
        int(operator.outputs[0]): int(operator.inputs[0])
        for operator in graph.operators
        if operator_name(model, operator) == "DEQUANTIZE" and int(operator.inputs[0]) in constants
    }


def _has_content(model: Any, tensor: Any) -> bool:
    content = model.buffers[tensor.buffer]
    return (content.data is not None and len(content.data) > 0) or content.size > 0


def constant(model: Any, tensor: Any) -> NDArray[Any] | None:
    """Return a constant tensor's numbers, flat; null for activations, and for types that numpy does not know."""
    dtype, content = _dtype(tensor), model.buffers[tensor.buffer].data
    if dtype is None or content is None or len(content) == 0:
        return None
    return np.frombuffer(bytes(content), np.dtype(dtype).newbyteorder("<"))


def _precision(model: Any, graph: Any, compute: list[tuple[str, Any]]) -> str:
    """Return how the file's weights are stored, by the first operator that computes with some."""
    constants = {index for index, tensor in enumerate(graph.tensors) if _has_content(model, tensor)}
    restored = _restored_weights(model, graph, constants)
    for _, operator in compute:
        weights = int(operator.inputs[1])
        if weights in restored:
            return {"float16": "float16"}.get(_dtype(graph.tensors[restored[weights]]) or "", "int8-weights")
        if weights in constants and _is_integer(graph, operator):
            return "int8-dynamic" if _dtype(graph.tensors[operator.inputs[0]]) == "float32" else "int8"
    return "float32" if _dtype(graph.tensors[graph.inputs[0]]) not in ("int8", "uint8") else "int8"


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
