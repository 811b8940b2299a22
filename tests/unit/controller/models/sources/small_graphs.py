"""ONNX graphs of a few operators: free axes, several inputs, state, weights in other places."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
Value = tuple[str, int, Sequence[Any]]


def graph(
    operators: list[onnx.NodeProto],
    inputs: Sequence[Value],
    outputs: Sequence[Value],
    weights: dict[str, Any] | None = None,
    opset: int = 17,
) -> onnx.ModelProto:
    """Return a model of the operators between the named ends."""
    made = helper.make_graph(
        operators,
        "small",
        [helper.make_tensor_value_info(*value) for value in inputs],
        [helper.make_tensor_value_info(*value) for value in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in (weights or {}).items()],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def linear(opset: int = 17) -> onnx.ModelProto:
    """Return scores (n, 3) of rows (n, 4)."""
    weights = {"w": np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)}
    operators = [helper.make_node("MatMul", ["row", "w"], ["scores"])]
    return graph(operators, [("row", FLOAT, ["n", 4])], [("scores", FLOAT, ["n", 3])], weights, opset)


def picture() -> onnx.ModelProto:
    """Return the mean of each channel of a picture of any size."""
    operators = [
        helper.make_node("GlobalAveragePool", ["picture"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["y"]),
    ]
    return graph(operators, [("picture", FLOAT, ["n", 3, "height", "width"])], [("y", FLOAT, ["n", "size"])])


def recurrent() -> onnx.ModelProto:
    """Return a leaky sum: `h_out` = 0.5 `h` + chunk, and the answer, which is its mean."""
    operators = [
        helper.make_node("Mul", ["h", "half"], ["kept"]),
        helper.make_node("Add", ["kept", "chunk"], ["h_out"]),
        helper.make_node("ReduceMean", ["h_out"], ["level"], axes=[1], keepdims=1),
    ]
    ends = [("h", FLOAT, ["n", 4]), ("chunk", FLOAT, ["n", 4])]
    given = [("level", FLOAT, ["n", 1]), ("h_out", FLOAT, ["n", 4])]
    return graph(operators, ends, given, {"half": np.float32(0.5)})


def rated() -> onnx.ModelProto:
    """Return scores of a chunk, divided by a rate that is an input of its own."""
    operators = [
        helper.make_node("Cast", ["sr"], ["rate"], to=FLOAT),
        helper.make_node("Div", ["chunk", "rate"], ["y"]),
    ]
    return graph(operators, [("chunk", FLOAT, ["n", 4]), ("sr", INT64, [])], [("y", FLOAT, ["n", 4])])


def save(model: onnx.ModelProto, path: Path, external: str | None = None) -> Path:
    """Write the model; with `external`, its weights into that file beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if external is None:
        onnx.save(model, path)
    else:
        onnx.save(model, path, save_as_external_data=True, location=external, size_threshold=0)
    return path
