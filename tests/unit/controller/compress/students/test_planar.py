"""Convolutions along one axis as ones over rows: the same answers, and where rows end."""

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from controller.compress.students.planar import planar
from controller.errors import UnusableModel
from tests.unit.controller.compress.channels import small_networks as small
from tests.unit.controller.compress.students.student_networks import operators

LENGTH = 19


class Series(small.Network):
    """Small networks over series of three channels."""

    def along(self, x: str, read: int, made: int, size: int = 3, **more: Any) -> str:
        pads = [(size - 1) // 2, size // 2]
        return self.add("Conv", x, self.weight(made, read, size), self.weight(made), **{"pads": pads, **more})

    def model(self, *outputs: str) -> onnx.ModelProto:
        graph = helper.make_graph(
            self.operators,
            "series",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, LENGTH])],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
            [numpy_helper.from_array(value, name) for name, value in self.weights.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
        return onnx.shape_inference.infer_shapes(model)


def answers(model: onnx.ModelProto) -> list[Any]:
    onnx.checker.check_model(model)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    x = np.random.default_rng(0).normal(size=(4, 3, LENGTH)).astype(np.float32)
    found: list[Any] = session.run(None, {"x": x})
    return found


def residual() -> onnx.ModelProto:
    net = Series()
    first = net.add("Relu", net.norm(net.along("x", 3, 6, 4, strides=[2]), 6))
    body = net.along(net.add("Clip", first, net.weight(values=np.float32(0)), net.weight(values=np.float32(2))), 6, 6)
    both = net.add("Concat", net.add("Add", body, first), net.along("x", 3, 2, 1, strides=[2], pads=[0, 0]), axis=1)
    pooled = net.add("MaxPool", both, kernel_shape=[2], strides=[2], pads=[0, 1])
    axes = net.weight(values=np.array([-1]))
    mean = net.add("ReduceMean", pooled, axes, keepdims=0)
    return net.model(net.add("Gemm", mean, net.weight(5, 8), net.weight(5), transB=1))


def gated() -> onnx.ModelProto:
    """A gate of whole channels, a constant of each channel, and an output in the middle."""
    net = Series()
    x = net.along("x", 3, 4, dilations=[2], pads=[2, 2])
    gate = net.add("Sigmoid", net.along(net.add("GlobalAveragePool", x), 4, 4, 1, pads=[0, 0]))
    scaled = net.add("Mul", net.add("Mul", x, gate), net.weight(4, 1))
    return net.model(x, net.add("ReduceMax", scaled, net.weight(values=np.array([2])), keepdims=1))


def transposed() -> onnx.ModelProto:
    net = Series()
    x = net.add("Transpose", net.along("x", 3, 4), perm=[0, 2, 1])
    return net.model(net.add("MatMul", x, net.weight(4, 2)))


@pytest.mark.parametrize("make", [residual, gated, transposed])
def test_the_answers_stay(make: Any) -> None:
    model = make()
    rows, said = planar(model)
    before, after = answers(model), answers(rows)
    for one, other in zip(before, after, strict=True):
        np.testing.assert_allclose(other, one, atol=2e-6)
        assert other.shape == one.shape
    count = operators(model).count("Conv")
    assert said == f"planar: {count} convolutions along one axis made ones over rows"
    kernels = [each.dims[2:] for each in rows.graph.initializer if each.name[0] == "w" and each.name.endswith("_row")]
    assert [len(kernel) for kernel in kernels] == [2] * count


def test_rows_begin_once_and_end_where_something_else_reads() -> None:
    rows, _ = planar(residual())
    kinds = operators(rows)
    assert kinds.count("Reshape") == 2  # the input becomes a row once, and the mean's end is no row
    assert "ReduceMean" not in kinds
    assert kinds.count("GlobalAveragePool") == 1


def test_without_such_convolutions_it_is_refused() -> None:
    with pytest.raises(UnusableModel, match="planar: no convolution with a constant weight works along one axis"):
        planar(small.plain())
