"""Channels are taken out together, and what is left computes what it did with nothing reading them."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from controller.compress.channels.atoms import Numbers, components
from controller.compress.channels.cut import cut
from controller.compress.channels.select import importances, select
from controller.compress.channels.trace import Traced, inlined, trace
from controller.errors import UnusableModel
from tests.unit.controller.compress.channels import small_networks as small

Array = NDArray[np.float32]


def answers(model: onnx.ModelProto, count: int = 3) -> Array:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    x = np.random.default_rng(5).normal(size=(count, 3, small.SIZE, small.SIZE)).astype(np.float32)
    return np.asarray(session.run(None, {"x": x})[0])


def weights_of(model: onnx.ModelProto) -> dict[str, NDArray[Any]]:
    return {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}


def unread(model: onnx.ModelProto, traced: Traced, gone: Numbers) -> onnx.ModelProto:
    """Return the model in its old size, with zeros where a weight reads a channel that is gone."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    tensors = {each.name: each for each in changed.graph.initializer}
    for piece in (each for each in traced.pieces if each.role == "in"):
        values = numpy_helper.to_array(tensors[piece.tensor]).copy()
        np.moveaxis(values, piece.axis, 0)[np.isin(traced.atoms.roots(piece.atoms), gone)] = 0
        tensors[piece.tensor].CopyFrom(numpy_helper.from_array(values, piece.tensor))
    return changed


def check(model: onnx.ModelProto, amount: float, round_to: int = 1) -> int:
    """Take channels out and compare; return how many parameters went."""
    traced = trace(model)
    gone = select(traced, importances(traced, weights_of(model)), amount, round_to=round_to)
    smaller = cut(model, traced, gone)
    onnx.checker.check_model(smaller, full_check=True)
    np.testing.assert_allclose(answers(smaller), answers(unread(model, traced, gone)), rtol=1e-3, atol=1e-4)
    before, after = (sum(value.size for value in weights_of(each).values()) for each in (model, smaller))
    return before - after


@pytest.mark.parametrize("network", small.NETWORKS, ids=lambda network: network.__name__)
def test_what_is_left_computes_what_it_did_with_nothing_reading_the_rest(
    network: Callable[[], onnx.ModelProto],
) -> None:
    model = network()
    assert check(model, 0.5) > 0
    assert check(model, 0.0) == 0


@settings(max_examples=40)
@example(9422, 4, 0.9)  # a width that two weights make: the smaller one keeps a channel too
@given(st.integers(0, 10_000), st.integers(1, 9), st.sampled_from([0.3, 0.5, 0.9]))
def test_random_networks(seed: int, steps: int, amount: float) -> None:
    assert check(small.random_network(seed, steps), amount) >= 0


def widths(model: onnx.ModelProto) -> list[int]:
    traced = trace(model)
    return sorted(len(each) for each in components(traced.atoms, traced.pieces))


def test_what_is_added_has_one_width() -> None:
    assert widths(small.residual()) == [6, 8]  # inside the block; the block's own


def test_what_is_concatenated_keeps_its_widths() -> None:
    assert widths(small.dense_block()) == [4, 6, 8]


def test_outputs_inputs_and_what_has_no_rule_keep_all_channels() -> None:
    net = small.Network()
    x = net.add("Softmax", net.conv(net.conv("x", 3, 8), 8, 6), axis=1)  # computes with all six at once
    model = net.model(net.conv(x, 6, 4))  # the last is an output
    assert widths(model) == [8]
    assert check(model, 0.5) > 0


def test_groups_that_mix_channels_keep_them() -> None:
    net = small.Network()
    model = net.model(net.head(net.conv(net.conv("x", 3, 8), 8, 8, group=2), 8))
    assert widths(model) == []
    assert check(model, 0.5) == 0


def test_a_weight_that_something_else_reads_keeps_its_channels() -> None:
    net = small.Network()
    weight = net.weight(8, 3, 1, 1)
    x = net.add("Conv", "x", weight)
    total = net.add("ReduceSum", weight, keepdims=0)
    model = net.model(net.head(net.add("Mul", x, total), 8))
    assert check(model, 0.5) == 0


def test_constants_in_the_graph_are_weights_too() -> None:
    model = small.plain()
    weight = model.graph.initializer.pop(0)
    inside = helper.make_node("Constant", [], [weight.name], value=weight)
    model.graph.node.insert(0, inside)
    assert check(inlined(model), 0.5) == check(small.plain(), 0.5)


def test_the_least_important_go_first() -> None:
    net = small.Network()
    weight = net.weight(4, 3, 1, 1)
    net.weights[weight] = np.ones((4, 3, 1, 1), dtype=np.float32) * np.array([3, 1, 4, 2])[:, None, None, None]
    net.weights[weight] = net.weights[weight].astype(np.float32)
    model = net.model(net.head(net.add("Conv", "x", weight), 4))
    for name, values in net.weights.items():
        if values.shape == (5, 4):
            net.weights[name] = np.ones((5, 4), dtype=np.float32)
    model = net.model(model.graph.output[0].name)
    traced = trace(model)
    gone = select(traced, importances(traced, net.weights), 0.5)
    np.testing.assert_array_equal(weights_of(cut(model, traced, gone))[weight][:, 0, 0, 0], [3, 4])


def test_importance_is_the_mean_over_what_makes_and_reads_a_channel_each_relative_to_its_mean() -> None:
    """By hand: rows of norms 3, 4, 5 with mean 4, read with norms 2, 2, 8 with mean 4."""
    net = small.Network()
    made = net.weight(values=np.array([[3, 0], [0, 4], [3, 4]], dtype=np.float32))
    read = net.weight(values=np.array([[2], [2], [8]], dtype=np.float32))
    flat = net.add("Flatten", net.add("ReduceMean", "x", net.weight(values=np.array([2])), keepdims=0))
    few = net.add("MatMul", flat, net.weight(24, 2))
    hidden = net.add("Gemm", few, made, transB=1)
    traced = trace(net.model(net.add("MatMul", hidden, read)))
    scores = importances(traced, net.weights)
    piece = next(each for each in traced.pieces if each.tensor == made and each.role == "out")
    np.testing.assert_allclose(scores[piece.atoms], [(3 / 4 + 2 / 4) / 2, (1 + 2 / 4) / 2, (5 / 4 + 2) / 2])


@pytest.mark.parametrize(
    ("amount", "round_to", "left"),
    [(0.5, 1, 32), (0.5, 16, 32), (0.6, 16, 32), (0.9, 16, 16), (0.99, 1, 1), (0.1, 64, 64)],
)
def test_what_stays_is_a_multiple_that_engines_like(amount: float, round_to: int, left: int) -> None:
    net = small.Network()
    model = net.model(net.head(net.conv("x", 3, 64, 1), 64))
    traced = trace(model)
    gone = select(traced, importances(traced, weights_of(model)), amount, round_to=round_to)
    assert 64 - len(gone) == left


def test_with_scope_global_widths_of_little_worth_lose_more() -> None:
    net = small.Network()
    model = net.model(net.head(net.conv(net.conv("x", 3, 16, 1), 16, 16, 1), 16))
    traced = trace(model)
    scores = importances(traced, weights_of(model))
    first, second = components(traced.atoms, traced.pieces)
    scores[first] += 10
    gone = select(traced, scores, 0.25, scope="global")
    assert set(gone) <= set(second)
    assert len(gone) == 8


@pytest.mark.parametrize(("amount", "round_to"), [(1.0, 1), (-0.1, 1), (0.5, 0)])
def test_numbers_out_of_range_are_refused(amount: float, round_to: int) -> None:
    traced = trace(small.plain())
    with pytest.raises(ValueError, match=r"must be 0 to below 1, round_to .* at least 1"):
        select(traced, np.zeros(len(traced.atoms)), amount, round_to=round_to)


def test_shapes_that_contradict_each_other_are_refused() -> None:
    graph = helper.make_graph(
        [helper.make_node("Gemm", ["x", "w"], ["y"])],
        "odd",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2])],
        [numpy_helper.from_array(np.zeros((3, 2), dtype=np.float32), "w")],
    )
    with pytest.raises(UnusableModel, match="shapes cannot be inferred"):
        trace(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10))
