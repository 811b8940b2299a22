"""Each change of a student's graph: what it does, what it costs by hand, and what it refuses."""

import math

import numpy as np
import onnx
import pytest
from onnx import helper

from controller.compress.students.depth import blocks, shallower
from controller.compress.students.early.stride import stride_early
from controller.compress.students.fresh import he_normal, refresh
from controller.compress.students.graph import changed, look, prepared
from controller.compress.students.normalise import EPSILON, normalise
from controller.compress.students.separable import separate
from controller.compress.students.stems import stem
from controller.compress.students.width import narrow
from controller.compress.weights.operators import attributes, values_of, weighted
from controller.errors import UnusableModel
from tests.unit.controller.compress.channels import small_networks as small
from tests.unit.controller.compress.channels.test_channels import answers
from tests.unit.controller.compress.students.student_networks import (
    macs,
    made_by,
    operators,
    three_blocks,
    two_convolutions,
)


def test_what_each_change_computes_is_as_counted_by_hand() -> None:
    model = two_convolutions()
    assert macs(model) == 64 * 8 * 27 + 64 * 16 * 72 + 16 * 5
    assert macs(narrow(model, 0.5, 4)[0]) == 64 * 4 * 27 + 64 * 8 * 36 + 8 * 5
    assert macs(separate(model, 0)[0]) == 64 * 8 * 27 + 64 * 8 * 9 + 64 * 8 * 16 + 16 * 5
    assert macs(stride_early(model, 2)[0]) == 16 * 8 * 27 + 16 * 16 * 72 + 16 * 5
    assert macs(stride_early(model, 4, at="input")[0]) == 4 * 8 * 27 + 4 * 16 * 72 + 16 * 5


@pytest.mark.parametrize(
    ("width", "round_to", "left"), [(0.5, 1, [4, 8, 5]), (0.5, 8, [8, 8, 5]), (0.25, 3, [3, 6, 5])]
)
def test_widths_are_multiples_and_the_outputs_stay(width: float, round_to: int, left: list[int]) -> None:
    student, said = narrow(two_convolutions(), width, round_to)
    assert made_by(student) == left
    assert f"16 -> {left[1]}" in said


def test_a_width_that_leaves_all_channels_is_refused() -> None:
    with pytest.raises(UnusableModel, match=r"width 0\.75 of 8, 16, rounded up to a multiple of 16, leaves"):
        narrow(two_convolutions(), 0.75, 16)
    net = small.Network()
    with pytest.raises(UnusableModel, match="mix its channels"):
        narrow(net.model(net.conv("x", 3, 4)), 0.5, 1)


def test_a_separated_convolution_keeps_its_steps_and_has_what_followed_it_in_between() -> None:
    net = small.Network()
    x = net.conv("x", 3, 8)
    wide = net.add("Conv", x, net.weight(16, 8, 3, 3), strides=[2, 2], pads=[2] * 4, dilations=[2, 2])
    model = net.model(net.head(net.add("LeakyRelu", net.norm(wide, 16), alpha=0.3), 16))
    student, said = separate(model, 0)
    kinds = operators(student)
    assert kinds[:6] == ["Conv", "Conv", "BatchNormalization", "LeakyRelu", "Conv", "BatchNormalization"]
    first, second = (attributes(student.graph.node[place]) for place in (1, 4))
    assert first == {"strides": [2, 2], "pads": [2] * 4, "dilations": [2, 2], "kernel_shape": [3, 3], "group": 8}
    assert second == {"kernel_shape": [1, 1]}
    assert attributes(student.graph.node[3])["alpha"] == pytest.approx(0.3)
    assert said == "separable: 1 of 2 convolutions made depthwise and pointwise, weights fresh"
    assert answers(student).shape == answers(model).shape


def test_stems_pointwise_grouped_and_shared_convolutions_are_not_separated() -> None:
    net = small.Network()
    x = net.conv(net.conv(net.conv("x", 3, 8), 8, 8, group=2), 8, 4, 1)
    shared = net.weight(8, 8, 3, 3)
    x = net.add("Conv", net.add("Conv", net.conv(x, 4, 8), shared), shared)  # four channels gain nothing
    with pytest.raises(UnusableModel, match="separable: none of 6 convolutions"):
        separate(net.model(net.head(x, 8)), 0)


def test_the_stem_is_what_reads_the_input_before_anything_learned() -> None:
    net = small.Network()
    scaled = net.add("Mul", net.add("Sub", "x", net.weight(3, 1, 1)), net.weight(3, 1, 1))
    long, short = net.conv(scaled, 3, 8), net.conv("x", 3, 8, 1)
    both = net.add("Add", long, short)
    model = net.model(net.head(net.conv(net.add("Add", both, net.conv(both, 8, 8)), 8, 4), 4))
    assert [each.output[0] for each in stem(model)] == [long, short]


def test_blocks_that_keep_the_shape_are_found_and_the_inner_of_nested_ones() -> None:
    ends = [(each.entry, each.exit) for each in blocks(three_blocks())]
    assert ends == [("v1", "v5"), ("v6", "v10"), ("v17", "v20")]
    net = small.Network()
    x = net.conv("x", 3, 8)
    inner = net.add("Add", net.conv(x, 8, 8), x)
    outer = net.add("Add", net.conv(inner, 8, 8), x)
    assert [each.exit for each in blocks(net.model(net.head(outer, 8)))] == [inner]


def test_a_gate_that_is_added_is_no_block() -> None:
    net = small.Network()
    x = net.conv("x", 3, 8)
    gated = net.add("Mul", x, net.add("Sigmoid", net.conv(net.add("GlobalAveragePool", x), 8, 8, 1)))
    assert blocks(net.model(net.head(net.add("Add", x, gated), 8))) == []


def test_a_block_of_which_something_else_is_read_stays() -> None:
    net = small.Network()
    x = net.conv("x", 3, 8)
    inside = net.conv(x, 8, 8)
    block = net.add("Add", net.conv(inside, 8, 8), x)
    model = net.model(net.head(net.add("Concat", block, inside, axis=1), 16))
    with pytest.raises(UnusableModel, match="depth: no block repeats"):
        shallower(model, 0.5)


@pytest.mark.parametrize(
    ("share", "gone"),
    [(2 / 3, "1 of 3 blocks left out: v20"), (0.5, "2 of 3 blocks left out: v10, v20"), (0, "3 of 3")],
)
def test_a_share_of_the_blocks_goes_from_the_end(share: float, gone: str) -> None:
    student, said = shallower(three_blocks(), share)
    assert gone in said
    assert operators(student).count("Add") == 4 - int(gone[0])
    assert answers(student).shape == (3, 5)


def test_without_blocks_that_add_nothing_the_model_computes_the_same() -> None:
    net = small.Network()
    x = net.add("Relu", net.conv("x", 3, 8))
    zeros = np.zeros((8, 8, 1, 1), np.float32)
    for _ in range(2):
        silent = net.add("Conv", net.add("Relu", net.conv(x, 8, 8)), net.weight(values=zeros))
        x = net.add("Relu", net.add("Add", silent, x))
    model = net.model(net.head(x, 8))
    student, _ = shallower(model, 0)
    assert operators(student) == ["Conv", "Relu", "Relu", "Relu", "GlobalAveragePool", "Flatten", "Gemm"]
    np.testing.assert_allclose(answers(student), answers(model), rtol=1e-5, atol=1e-6)


def test_a_block_that_ends_in_the_output_is_passed_by() -> None:
    net = small.Network()
    x = net.conv("x", 3, 8)
    model = net.model(net.add("Add", x, net.conv(x, 8, 8)))
    student, _ = shallower(model, 0.5)
    assert operators(student) == ["Conv", "Identity"]
    assert answers(student).shape == answers(model).shape


def test_normalisations_begin_as_the_bias_did() -> None:
    model = three_blocks()
    student, said = normalise(model)
    assert said == "normalise: batch normalisation behind 9 of 9 convolutions, which had none"
    convolutions = [each for each in student.graph.node if each.op_type == "Conv"]
    assert {len(each.input) for each in convolutions} == {2}
    assert {look(student).readers[each.output[0]][0].op_type for each in convolutions} == {"BatchNormalization"}
    np.testing.assert_allclose(answers(student), answers(model), rtol=20 * EPSILON, atol=20 * EPSILON)


def test_what_is_normalised_or_ends_in_the_output_gets_no_normalisation() -> None:
    net = small.Network()
    x = net.add("Add", net.conv("x", 3, 8), net.conv("x", 3, 8, 1))
    x = net.add("Relu", net.norm(x, 8))  # both convolutions are normalised behind the addition
    model = net.model(net.add("GlobalAveragePool", net.add("Relu", net.conv(x, 8, 5))))
    student, said = normalise(model)
    assert said == "normalise: batch normalisation nowhere missing"
    assert operators(student) == operators(model)
    _, said = normalise(small.squeeze_and_excite())  # two of its three convolutions see one place
    assert said == "normalise: batch normalisation behind 1 of 3 convolutions, which had none"


def test_fresh_weights_are_he_normal_by_seed_and_name() -> None:
    net = small.Network()
    x = net.norm(net.conv(net.conv("x", 3, 64), 64, 64), 64)
    x = net.add("PRelu", net.add("MatMul", net.head(x, 64, 32), net.weight(32, 40)), net.weight(40))
    model = net.model(net.add("Mul", x, net.weight(2, 1, 40, values=np.full((2, 1, 40), 7, np.float32))))
    student, said = refresh(model, 3)
    second = weighted(student)[1]
    values = values_of(student, second.weight)
    assert values.std() == pytest.approx(math.sqrt(2 / (64 * 9)), rel=0.05)
    np.testing.assert_array_equal(values, he_normal(3, second.weight, values.shape, 64 * 9))
    assert not np.array_equal(values, values_of(refresh(model, 4)[0], second.weight))
    norm = next(each for each in student.graph.node if each.op_type == "BatchNormalization")
    assert [float(values_of(student, name).mean()) for name in norm.input[1:]] == [1, 0, 0, 1]
    assert not values_of(student, student.graph.node[0].input[2]).any()
    assert said.startswith("weights: fresh, He-normal, seed 3; 1 constants keep their values: w")


def test_graphs_within_a_graph_are_refused_and_defaults_of_inputs_become_constants() -> None:
    model = two_convolutions()
    branch = helper.make_graph([], "branch", [], [])
    inside = helper.make_node("If", ["x"], ["y"], then_branch=branch, else_branch=branch)
    model.graph.node.append(inside)
    with pytest.raises(UnusableModel, match=r"graphs within a graph \(If\)"):
        prepared(model)
    model = two_convolutions()
    weight = model.graph.initializer[0]
    model.graph.input.append(helper.make_tensor_value_info(weight.name, weight.data_type, weight.dims))
    assert [each.name for each in prepared(model).graph.input] == ["x"]


def test_operators_stand_behind_what_they_read_and_what_nothing_reads_goes() -> None:
    model = two_convolutions()
    first = model.graph.node[0]
    new = [helper.make_node("Tanh", ["late"], ["v0"]), helper.make_node("Conv", first.input, ["late"], pads=[1] * 4)]
    student = changed(model, {"v0": new}, constants={"unread": np.zeros(3)})
    assert operators(student)[:2] == ["Conv", "Tanh"]
    assert "unread" not in look(student).constants
    onnx.checker.check_model(student, full_check=True)
