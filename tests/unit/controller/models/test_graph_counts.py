"""Parameters and multiply-accumulates against counts by hand."""

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from controller.models.graph import measure_graph
from tests.unit.controller.compress.small_models import conv_model

Shapes = dict[str, tuple[int, ...]]


def one_operator(
    kind: str, inputs: Shapes, weights: Shapes, output: list[Any], order: list[str], **attributes: Any
) -> onnx.ModelProto:
    graph = helper.make_graph(
        [helper.make_node(kind, order, ["y"], name="it", **attributes)],
        "one",
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", *shape[1:]])
            for name, shape in inputs.items()
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, output)],
        [numpy_helper.from_array(np.ones(shape, np.float32), name) for name, shape in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


@pytest.mark.parametrize(
    ("model", "parameters", "macs"),
    [
        # 4 outputs x (3 channels x 3 x 3) per point of 8 x 8
        (
            one_operator(
                "Conv",
                {"x": (1, 3, 8, 8)},
                {"w": (4, 3, 3, 3), "b": (4,)},
                ["batch", 4, 8, 8],
                ["x", "w", "b"],
                pads=[1, 1, 1, 1],
            ),
            4 * 27 + 4,
            8 * 8 * 4 * 27,
        ),
        # stride 2: 4 x 4 points
        (
            one_operator(
                "Conv", {"x": (1, 3, 8, 8)}, {"w": (4, 3, 2, 2)}, ["batch", 4, 4, 4], ["x", "w"], strides=[2, 2]
            ),
            4 * 12,
            4 * 4 * 4 * 12,
        ),
        # depthwise: one channel each
        (
            one_operator("Conv", {"x": (1, 6, 10)}, {"w": (6, 1, 3)}, ["batch", 6, 8], ["x", "w"], group=6),
            18,
            8 * 6 * 3,
        ),
        # each of 5 x 2 inputs is spread over 3 outputs x 4
        (
            one_operator("ConvTranspose", {"x": (1, 2, 5)}, {"w": (2, 3, 4)}, ["batch", 3, 8], ["x", "w"]),
            24,
            2 * 5 * 3 * 4,
        ),
        (one_operator("Gemm", {"x": (1, 16)}, {"w": (16, 5), "b": (5,)}, ["batch", 5], ["x", "w", "b"]), 85, 80),
        (one_operator("Gemm", {"x": (1, 16)}, {"w": (5, 16)}, ["batch", 5], ["x", "w"], transB=1), 80, 80),
        (one_operator("MatMul", {"x": (1, 7, 16)}, {"w": (16, 5)}, ["batch", 7, 5], ["x", "w"]), 80, 7 * 80),
    ],
)
def test_counts_by_hand(model: onnx.ModelProto, parameters: int, macs: int) -> None:
    counts = measure_graph(model)
    assert (counts.parameters, counts.macs, counts.uncounted) == (parameters, macs, ())


@pytest.mark.parametrize(("kind", "gates"), [("GRU", 3), ("LSTM", 4), ("RNN", 1)])
def test_a_recurrent_layer(kind: str, gates: int) -> None:
    steps, features, hidden = 10, 8, 6
    graph = helper.make_graph(
        [helper.make_node(kind, ["x", "w", "r"], ["y"], hidden_size=hidden)],
        "recurrent",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [steps, 1, features])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [steps, 1, 1, hidden])],
        [
            numpy_helper.from_array(np.ones((1, gates * hidden, features), np.float32), "w"),
            numpy_helper.from_array(np.ones((1, gates * hidden, hidden), np.float32), "r"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    del model.graph.input[0].type.tensor_type.shape.dim[0]
    step = model.graph.input[0].type.tensor_type.shape.dim
    step.insert(0, onnx.TensorShapeProto.Dimension(dim_value=steps))
    counts = measure_graph(model)
    assert counts.macs == steps * gates * hidden * (features + hidden)
    assert counts.parameters == gates * hidden * (features + hidden)


def test_weights_in_constant_operators_count() -> None:
    model = one_operator("Gemm", {"x": (1, 16)}, {"w": (16, 5)}, ["batch", 5], ["x", "w"])
    weights = model.graph.initializer[0]
    model.graph.node.insert(0, helper.make_node("Constant", [], ["w"], value=weights))
    del model.graph.initializer[:]
    counts = measure_graph(model)
    assert (counts.parameters, counts.macs) == (80, 80)


def test_shapes_and_scales_are_no_parameters() -> None:
    model = one_operator("Gemm", {"x": (1, 16)}, {"w": (16, 5)}, ["batch", 5], ["x", "w"])
    model.graph.initializer.append(numpy_helper.from_array(np.array([1, 16]), "shape"))
    model.graph.initializer.append(numpy_helper.from_array(np.array(0.1, np.float32), "scale"))
    model.graph.initializer.append(numpy_helper.from_array(np.array(3, np.uint8), "zero"))
    model.graph.node.insert(0, helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"]))
    model.graph.node.insert(1, helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["d"]))
    model.graph.node[2].input[0] = "d"
    counts = measure_graph(model)
    assert (counts.parameters, counts.macs) == (80, 80)


def test_a_size_that_stays_unknown_is_named_not_guessed() -> None:
    model = one_operator("Conv", {"x": (1, 1, 8)}, {"w": (2, 1, 3)}, ["batch", 2, "length"], ["x", "w"])
    axis = model.graph.input[0].type.tensor_type.shape.dim[2]
    axis.dim_param = "length"
    counts = measure_graph(model)
    assert counts.macs == 0
    assert counts.uncounted == ("Conv it: shape unknown",)


def test_the_small_model() -> None:
    counts = measure_graph(conv_model())
    assert counts.macs == 64 * 8 * 5 + 64 * 16 * 8 * 5 + 16 * 3
    assert counts.parameters == 8 * 5 + 8 + 4 * 8 + 16 * 8 * 5 + 16 + 16 * 3 + 3
    assert counts.operators["Conv"] == 2


def test_what_runs_only_perhaps_is_named_and_not_counted() -> None:
    model = one_operator("Gemm", {"x": (1, 16)}, {"w": (16, 5)}, ["batch", 5], ["x", "w"])
    inner = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["z"])], "branch", [], [])
    model.graph.node.append(helper.make_node("If", ["c"], ["z"], name="choice", then_branch=inner, else_branch=inner))
    counts = measure_graph(model)
    assert counts.macs == 80
    assert counts.operators == {"Gemm": 1, "If": 1, "MatMul": 2}
    assert counts.uncounted == ("If choice: MatMul in its graphs",)
