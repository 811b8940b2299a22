"""A float TFLite file of one fully connected layer, written as a flatbuffer: no exporter is needed."""

from pathlib import Path

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

FEATURES, OUTPUTS = 16, 4


def weights() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    random = np.random.default_rng(5)
    return (
        random.normal(0, 0.5, (OUTPUTS, FEATURES)).astype(np.float32),
        random.normal(0, 0.1, OUTPUTS).astype(np.float32),
    )


def rows(count: int, seed: int = 6) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(0, 1, (count, FEATURES)).astype(np.float32)


def expected(inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    matrix, bias = weights()
    return (inputs @ matrix.T + bias).astype(np.float32)


def write_tflite(path: Path) -> Path:
    matrix, bias = weights()
    model = schema.ModelT()
    model.version = 3
    model.buffers = [_buffer(None), _buffer(matrix), _buffer(bias)]
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.FULLY_CONNECTED
    code.version = 1
    model.operatorCodes = [code]
    graph = schema.SubGraphT()
    graph.name = "main"
    graph.tensors = [
        _tensor("row", (1, FEATURES), 0),
        _tensor("matrix", (OUTPUTS, FEATURES), 1),
        _tensor("bias", (OUTPUTS,), 2),
        _tensor("scores", (1, OUTPUTS), 0),
    ]
    graph.inputs, graph.outputs = [0], [3]
    operator = schema.OperatorT()
    operator.inputs, operator.outputs = [0, 1, 2], [3]
    operator.builtinOptionsType = schema.BuiltinOptions.FullyConnectedOptions
    operator.builtinOptions = schema.FullyConnectedOptionsT()
    graph.operators = [operator]
    model.subgraphs = [graph]
    model.signatureDefs = [_signature()]
    builder = flatbuffers.Builder(4096)
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(bytes(builder.Output()))
    return path


def _buffer(values: NDArray[np.float32] | None) -> schema.BufferT:
    buffer = schema.BufferT()
    buffer.data = None if values is None else np.frombuffer(values.tobytes(), dtype=np.uint8)
    return buffer


def _tensor(name: str, shape: tuple[int, ...], buffer: int) -> schema.TensorT:
    tensor = schema.TensorT()
    tensor.name, tensor.shape, tensor.buffer = name.encode(), list(shape), buffer
    tensor.type = schema.TensorType.FLOAT32
    return tensor


def _signature() -> schema.SignatureDefT:
    signature = schema.SignatureDefT()
    signature.signatureKey = b"serving_default"
    signature.subgraphIndex = 0
    signature.inputs, signature.outputs = [_place("row", 0)], [_place("scores", 3)]
    return signature


def _place(name: str, tensor: int) -> schema.TensorMapT:
    place = schema.TensorMapT()
    place.name, place.tensorIndex = name.encode(), tensor
    return place
