"""Small graphs to train, and the way to PyTorch: where it cannot be imported these tests are skipped.

`test_in_environment.py` runs them all with what the converter environment `torch` holds.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Array = NDArray[Any]
Build = Callable[..., onnx.ModelProto]


def graph(operators: list[onnx.NodeProto], constants: dict[str, Array], shape: tuple[int, ...]) -> onnx.ModelProto:
    """Return a model of one input `x` of shape (n, *shape); the last operator makes the output."""
    source = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", *shape])
    out = helper.make_tensor_value_info(operators[-1].output[0], TensorProto.FLOAT, None)
    weights = [numpy_helper.from_array(values, name) for name, values in constants.items()]
    made = helper.make_graph(operators, "small", [source], [out], weights)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def answers(model: onnx.ModelProto, x: Array) -> Array:
    """Return what ONNX Runtime makes of inputs, nothing fused."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    found: Array = session.run(None, {"x": x})[0]
    return found


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(5)


def small_convolution(random: np.random.Generator, normalised: bool = False) -> onnx.ModelProto:
    """Return a classifier of three classes of 12 values: convolution, [BatchNormalization,] ReLU, mean, Gemm."""
    constants: dict[str, Array] = {
        "kernel": random.normal(size=(4, 1, 3)).astype(np.float32),
        "shift": random.normal(size=4).astype(np.float32),
        "axes": np.array([2], dtype=np.int64),
        "head": random.normal(size=(4, 3)).astype(np.float32),
        "bias": np.zeros(3, dtype=np.float32),
    }
    operators = [helper.make_node("Conv", ["x", "kernel", "shift"], ["c"], pads=[1, 1])]
    if normalised:
        constants |= {"scale": np.ones(4, np.float32), "offset": np.zeros(4, np.float32)}
        constants |= {"mean": np.zeros(4, np.float32), "variance": np.ones(4, np.float32)}
        names = ["c", "scale", "offset", "mean", "variance"]
        operators.append(helper.make_node("BatchNormalization", names, ["normal"]))
    operators += [
        helper.make_node("Relu", ["normal" if normalised else "c"], ["r"]),
        helper.make_node("ReduceMean", ["r", "axes"], ["m"], keepdims=0),
        helper.make_node("Gemm", ["m", "head", "bias"], ["y"]),
    ]
    return graph(operators, constants, (1, 12))


def waves(random: np.random.Generator, count: int) -> tuple[Array, Array]:
    """Return noisy waves of three frequencies, shape (n, 1, 12), and which each is."""
    labels = np.arange(count) % 3
    phase = random.uniform(0, 2 * np.pi, (count, 1))
    values = np.sin(phase + (1 + labels[:, None]) * np.arange(12) * np.pi / 4) + random.normal(0, 0.1, (count, 12))
    return values[:, None].astype(np.float32), labels.astype(np.int64)
