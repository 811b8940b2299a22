"""A TFLite file with state, written as a flatbuffer: y[t] = x[t] + y[t-1], a recurrent layer of unit weights."""

from pathlib import Path

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from tests.unit.controller.compress.small_tflite import _buffer, _tensor

UNITS = 3
EYE: NDArray[np.float32] = np.eye(UNITS, dtype=np.float32)


def write_running_sum(path: Path) -> Path:
    """Write it: the state is a variable of the interpreter."""
    model = schema.ModelT()
    model.version = 3
    model.buffers = [_buffer(None), _buffer(EYE), _buffer(EYE), _buffer(np.zeros(UNITS, np.float32))]
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.RNN
    code.version = 1
    model.operatorCodes = [code]
    model.subgraphs = [_graph()]
    builder = flatbuffers.Builder(4096)
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(bytes(builder.Output()))
    return path


def _graph() -> schema.SubGraphT:
    graph = schema.SubGraphT()
    graph.name = "main"
    state = _tensor("state", (1, UNITS), 0)
    state.isVariable = True
    graph.tensors = [
        _tensor("x", (1, UNITS), 0),
        _tensor("weights", (UNITS, UNITS), 1),
        _tensor("recurrent", (UNITS, UNITS), 2),
        _tensor("bias", (UNITS,), 3),
        state,
        _tensor("y", (1, UNITS), 0),
    ]
    graph.inputs, graph.outputs = [0], [5]
    operator = schema.OperatorT()
    operator.inputs, operator.outputs = [0, 1, 2, 3, 4], [5]
    operator.builtinOptionsType = schema.BuiltinOptions.RNNOptions
    operator.builtinOptions = schema.RNNOptionsT()
    operator.builtinOptions.fusedActivationFunction = schema.ActivationFunctionType.NONE
    graph.operators = [operator]
    return graph
