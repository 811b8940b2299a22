"""A graph in PyTorch computes what ONNX Runtime computes, operator by operator, and is written back as it was."""

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

torch = pytest.importorskip("torch")

from controller.compress.training.network.graph import Network  # noqa: E402
from controller.convert.workers.frame import Unusable  # noqa: E402
from tests.unit.controller.compress.training.conftest import answers, graph, small_convolution  # noqa: E402

F = np.float32
I = np.int64  # noqa: E741


def one(kind: str, constants: dict[str, Any] | None = None, **attributes: Any) -> list[onnx.NodeProto]:
    names = list(constants or {})
    return [helper.make_node(kind, ["x", *names], ["y"], **attributes)]


rng = np.random.default_rng(1)


def drawn(*shape: int) -> Any:
    return rng.normal(size=shape).astype(F)


CASES: dict[str, tuple[tuple[int, ...], str, dict[str, Any], dict[str, Any]]] = {
    "conv with unequal pads": ((3, 9), "Conv", {"w": drawn(4, 3, 3)}, {"pads": [0, 2]}),
    "conv of the same length": ((3, 9), "Conv", {"w": drawn(4, 3, 4)}, {"auto_pad": "SAME_UPPER", "strides": [2]}),
    "depthwise conv": (
        (4, 6, 6), "Conv", {"w": drawn(4, 1, 3, 3), "b": drawn(4)}, {"group": 4, "strides": [2, 1], "dilations": [1, 2]}
    ),
    "transposed conv": (
        (3, 5), "ConvTranspose", {"w": drawn(3, 2, 3)}, {"strides": [2], "pads": [1, 1], "output_padding": [1]}
    ),
    "gemm": ((5,), "Gemm", {"w": drawn(3, 5), "b": drawn(3)}, {"transB": 1, "alpha": 0.5, "beta": 2.0}),
    "matmul": ((4, 5), "MatMul", {"w": drawn(5, 2)}, {}),
    "max pool": ((2, 7, 7), "MaxPool", {}, {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}),
    "max pool that pads one side": ((2, 7), "MaxPool", {}, {"kernel_shape": [2], "strides": [2], "pads": [0, 1]}),
    "average pool": ((2, 7, 7), "AveragePool", {}, {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}),
    "average pool that counts pads": (
        (2, 7), "AveragePool", {}, {"kernel_shape": [3], "pads": [0, 1], "count_include_pad": 1}
    ),
    "global average": ((2, 7, 3), "GlobalAveragePool", {}, {}),
    "global maximum": ((2, 7, 3), "GlobalMaxPool", {}, {}),
    "batch normalisation": (
        (3, 4), "BatchNormalization", {name: np.abs(drawn(3)) + 0.5 for name in ("s", "o", "m", "v")}, {"epsilon": 1e-3}
    ),
    "layer normalisation": ((3, 4), "LayerNormalization", {"s": drawn(4), "o": drawn(4)}, {"axis": -1}),
    "instance normalisation": ((3, 4), "InstanceNormalization", {"s": drawn(3), "o": drawn(3)}, {}),
    "clip": ((6,), "Clip", {"low": np.array(-0.5, F), "high": np.array(0.7, F)}, {}),
    "leaky": ((6,), "LeakyRelu", {}, {"alpha": 0.3}),
    "prelu": ((3, 4), "PRelu", {"slope": rng.uniform(0, 1, (3, 1)).astype(F)}, {}),
    "elu": ((6,), "Elu", {}, {"alpha": 0.7}),
    "sigmoid": ((6,), "Sigmoid", {}, {}), "tanh": ((6,), "Tanh", {}, {}), "erf": ((6,), "Erf", {}, {}),
    "hard sigmoid": ((6,), "HardSigmoid", {}, {"alpha": 0.3, "beta": 0.4}), "hard swish": ((6,), "HardSwish", {}, {}),
    "softmax": ((3, 4), "Softmax", {}, {"axis": 1}), "log softmax": ((6,), "LogSoftmax", {}, {}),
    "minimum": ((6,), "Min", {"other": drawn(6)}, {}),
    "power": ((6,), "Pow", {"two": np.array(2.0, F)}, {}),
    "reshape": ((2, 6), "Reshape", {"shape": np.array([0, 3, -1], I)}, {}),
    "flatten": ((2, 3, 4), "Flatten", {}, {"axis": 2}),
    "transpose": ((2, 3), "Transpose", {}, {"perm": [0, 2, 1]}),
    "squeeze": ((1, 3), "Squeeze", {"axes": np.array([1], I)}, {}),
    "unsqueeze": ((3,), "Unsqueeze", {"axes": np.array([-1, 1], I)}, {}),
    "slice": (
        (8,), "Slice", {name: np.array([each], I) for name, each in (("b", -6), ("e", 7), ("axis", 1), ("by", 2))}, {}
    ),
    "gather": ((5, 2), "Gather", {"places": np.array([[0, -1], [2, 2]], I)}, {"axis": 1}),
    "pad": ((2, 4), "Pad", {"pads": np.array([0, 0, 1, 0, 0, 2], I), "value": np.array(0.5, F)}, {}),
    "reflected pad": ((2, 4), "Pad", {"pads": np.array([0, 0, 1, 0, 0, 2], I)}, {"mode": "reflect"}),
    "mean": ((3, 4), "ReduceMean", {"axes": np.array([-1], I)}, {"keepdims": 0}), "sum": ((3, 4), "ReduceSum", {}, {}),
    "maximum": ((3, 4), "ReduceMax", {"axes": np.array([1, 2], I)}, {}),
    "concat": ((3, 4), "Concat", {"more": drawn(5, 1, 4)}, {"axis": 1}),
    "expand": ((1, 4), "Expand", {"shape": np.array([5, 3, 4], I)}, {}),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_operators_compute_what_the_engine_computes(name: str) -> None:
    shape, kind, constants, attributes = CASES[name]
    model = graph(one(kind, constants, **attributes), constants, shape)
    x = rng.normal(size=(5, *shape)).astype(F)
    with torch.no_grad():
        found = Network(model).eval()(torch.from_numpy(x))[0].numpy()
    assert found.shape == (expected := answers(model, x)).shape
    assert np.abs(found - expected).max() < 1e-5


def test_what_cannot_be_trained_through_is_named() -> None:
    model = graph(one("Resize", None), {}, (3, 4))
    with pytest.raises(Unusable, match="training goes through no Resize"):
        Network(model)


def test_a_graph_exported_for_one_sample_runs_for_many() -> None:
    constants = {"shape": np.array([1, 6], I)}
    network = Network(graph(one("Reshape", constants), constants, (2, 3)))
    assert network(torch.zeros(4, 2, 3))[0].shape == (4, 6)


def test_weights_are_trained_and_other_constants_are_not(random: np.random.Generator) -> None:
    network = Network(small_convolution(random, normalised=True))
    trained = {name for name, place in network.places.items() if place in network.weights}
    assert trained == {"kernel", "shift", "head", "bias", "scale", "offset"}
    assert set(network.matrices()) == {"kernel", "head"}


def test_written_back_it_computes_the_same(random: np.random.Generator) -> None:
    model = small_convolution(random, normalised=True)
    network = Network(model).eval()
    with torch.no_grad():
        for each in network.weights.values():
            each.add_(0.1)
    x = random.normal(size=(5, 1, 12)).astype(F)
    with torch.no_grad():
        expected = network(torch.from_numpy(x))[0].numpy()
    assert np.abs(answers(network.written(), x) - expected).max() < 1e-5
    assert not np.allclose(answers(model, x), expected)
