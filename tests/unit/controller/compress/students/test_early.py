"""Fewer places from the stem on: strides, averages, pools; what has to change with them, and what is refused."""

from typing import Any

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

from controller.compress.students.early.pools import pools_to_strides
from controller.compress.students.early.stages import stride_stages
from controller.compress.students.early.stride import At, stride_early
from controller.compress.weights.operators import attributes, values_of, weighted
from controller.errors import UnusableModel
from controller.models.graph import infer_shapes
from tests.unit.controller.compress.channels import small_networks as small
from tests.unit.controller.compress.channels.test_channels import answers
from tests.unit.controller.compress.students.student_networks import macs, operators, three_blocks, two_convolutions


def in_a_row(stated: bool) -> onnx.ModelProto:
    """The places of the last convolution lie in a row, by Flatten or by a reshape that says how many there are."""
    net = small.Network()
    x = net.add("Relu", net.conv(net.add("Relu", net.conv("x", 3, 8)), 8, 6))
    places = 6 * small.SIZE**2
    row = net.weight(values=np.array([-1, places], dtype=np.int64)) if stated else ""
    flat = net.add("Reshape", x, row) if stated else net.add("Flatten", x)
    return net.model(net.add("MatMul", flat, net.weight(places, 5)))


def test_strides_of_every_stem_convolution_grow_together() -> None:
    net = small.Network()
    x = net.add("Add", net.conv("x", 3, 8), net.conv("x", 3, 8, 1))
    student, said = stride_early(net.model(net.head(x, 8)), 2)
    assert infer_shapes(student)[x] == (1, 8, 4, 4)
    assert said.startswith("early_stride: 2 times fewer places along each axis, strides of the stem (Conv_v0, Conv_v1)")
    assert answers(student).shape == (3, 5)


def test_averages_of_the_input_go_into_the_stem() -> None:
    net = small.Network()
    kernel = net.weight(values=np.ones((1, 3, 1, 1), dtype=np.float32))
    model = net.model(net.add("ReduceMax", net.add("Conv", "x", kernel), keepdims=0))
    student, _ = stride_early(model, 4, at="input")
    x = np.arange(3 * 64, dtype=np.float32).reshape(1, 3, 8, 8)
    largest = x.sum(axis=1).reshape(2, 4, 2, 4).mean(axis=(1, 3)).max()
    given: Any = ReferenceEvaluator(student).run(None, {"x": x})
    np.testing.assert_allclose(given[0], largest)


def test_longer_strides_than_the_kernel_are_refused() -> None:
    with pytest.raises(UnusableModel, match=r"strides of \[4, 4\] would leave values unread .* stride_at: input"):
        stride_early(two_convolutions(), 4)


def test_an_axis_of_one_place_is_left_alone() -> None:
    net = small.Network()
    x = net.add("ReduceMean", "x", net.weight(values=np.array([3])), keepdims=1)
    conv = net.add("Conv", x, net.weight(6, 3, 3, 1), pads=[1, 0, 1, 0])
    places: tuple[At, ...] = ("stem", "input")
    for at in places:
        student, _ = stride_early(net.model(net.head(conv, 6)), 2, at=at)
        assert infer_shapes(student)[conv] == (1, 6, 4, 1)


def test_later_strides_are_taken_back_along_all_branches_and_pools_that_are_left_nothing_go() -> None:
    student, _ = stride_early(three_blocks(), 2, later="reduced")
    assert infer_shapes(three_blocks())["v16"] == infer_shapes(student)["v16"] == (1, 16, 4, 4)
    assert [attributes(each).get("strides") for each in student.graph.node if each.op_type == "Conv"] == [
        *([2, 2], None, None, None, None),
        *([1, 1], None, [1, 1], None),
    ]
    student, said = stride_early(pooled(), 2, later="reduced")
    assert operators(student).count("MaxPool") == 1
    assert said.endswith("; later strides reduced by as much")
    assert answers(student).shape == (3, 5)
    student, _ = stride_early(pooled(), 4, at="input", later="reduced")
    assert operators(student).count("MaxPool") == 0
    with pytest.raises(
        UnusableModel, match="later strides cannot be reduced by 4, only by 2; take later_strides: kept"
    ):
        stride_early(three_blocks(), 4, at="input", later="reduced")


def pooled() -> onnx.ModelProto:
    net = small.Network()
    x = net.add("MaxPool", net.conv("x", 3, 8), kernel_shape=[2, 2], strides=[2, 2])
    x = net.add("MaxPool", net.conv(x, 8, 8), kernel_shape=[2, 2], strides=[2, 2])
    return net.model(net.head(x, 8))


@pytest.mark.parametrize("stated", [False, True])
def test_a_product_that_reads_all_places_in_a_row_reads_fewer(stated: bool) -> None:
    model = in_a_row(stated)
    student, said = stride_early(model, 2)
    last = weighted(student)[-1]
    assert values_of(student, last.weight).shape == (6 * 16, 5)
    assert said.endswith(f"so that weights are new: {last.weight}")
    assert answers(student).shape == answers(model).shape
    as_many, said = stride_early(model_with_pool(stated), 2, later="reduced")
    assert "new" not in said
    assert answers(as_many).shape == (3, 5)


def model_with_pool(stated: bool) -> onnx.ModelProto:
    net = small.Network()
    x = net.add("MaxPool", net.conv("x", 3, 6), kernel_shape=[2, 2], strides=[2, 2])
    row = net.weight(values=np.array([-1, 96], dtype=np.int64)) if stated else ""
    flat = net.add("Reshape", x, row) if stated else net.add("Flatten", x)
    return net.model(net.add("Gemm", flat, net.weight(96, 5)))


def test_a_graph_that_needs_its_places_is_refused_with_the_operator() -> None:
    net = small.Network()
    x = net.add("Add", net.conv("x", 3, 8), net.weight(8, 8, 8))  # a number for each place
    with pytest.raises(UnusableModel, match=r"early_stride 2: the graph needs its places.*later_strides: reduced"):
        stride_early(net.model(net.head(x, 8)), 2)
    net = small.Network()
    model = net.model(net.conv("x", 3, 8))
    with pytest.raises(UnusableModel, match=r"its places: \(op_type:Conv, node name: Conv_v0\): Inferred shape"):
        stride_early(model, 2)
    model.graph.output[0].type.tensor_type.ClearField("shape")
    with pytest.raises(UnusableModel, match=r"output v0 would have shape \(1, 8, 4, 4\), not \(1, 8, 8, 8\)"):
        stride_early(model, 2)
    net = small.Network()
    x = net.add("Conv", net.conv("x", 3, 8), net.weight(8, 8, 5, 5))
    with pytest.raises(UnusableModel, match="kernel reaches over 5 places, of 4 there are"):
        stride_early(net.model(net.head(x, 8)), 2)


def test_early_strides_need_a_convolution_that_reads_the_input() -> None:
    net = small.Network()
    model = net.model(net.add("Gemm", net.add("Flatten", "x"), net.weight(192, 5)))
    with pytest.raises(UnusableModel, match="read the input first, and Gemm Gemm_v1 does"):
        stride_early(model, 2)


def test_pools_become_strides_of_the_convolutions_before_them() -> None:
    net = small.Network()
    x = net.add("MaxPool", net.add("Relu", net.norm(net.conv("x", 3, 8), 8)), kernel_shape=[2, 2], strides=[2, 2])
    x = net.add("AveragePool", net.conv(x, 8, 6), kernel_shape=[2, 2], strides=[2, 2])
    model = net.model(net.head(x, 6))
    assert macs(model) == 64 * 8 * 27 + 16 * 6 * 72 + 6 * 5
    student, said = pools_to_strides(model)
    assert said == "pools: 2 of 2 became strides of the convolutions before them"
    assert macs(student) == 16 * 8 * 27 + 4 * 6 * 72 + 6 * 5
    assert operators(student)[:4] == ["Conv", "BatchNormalization", "Relu", "Conv"]
    assert answers(student).shape == (3, 5)


def test_pools_that_overlap_or_stand_behind_something_else_or_a_short_kernel_stay() -> None:
    net = small.Network()
    first = net.add("MaxPool", net.conv("x", 3, 8), kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    block = net.add("Add", net.conv(first, 8, 8), first)
    second = net.add("MaxPool", block, kernel_shape=[2, 2], strides=[2, 2])
    third = net.add("MaxPool", net.conv(second, 8, 4, 1), kernel_shape=[2, 2], strides=[2, 2])
    with pytest.raises(UnusableModel, match="pools: none of 3 pools has windows that do not overlap"):
        pools_to_strides(net.model(net.head(third, 4)))


def test_pools_whose_places_are_needed_are_refused() -> None:
    net = small.Network()  # of 8 places a window of 3 leaves 2, a stride of 3 leaves 3
    pool = net.add("MaxPool", net.conv("x", 3, 8), kernel_shape=[3, 3], strides=[3, 3])
    model = net.model(net.add("Gemm", net.add("Flatten", pool), net.weight(8 * 4, 5)))
    with pytest.raises(UnusableModel, match=r"pools: the graph needs the places .* mismatch .* between 32 and 72"):
        pools_to_strides(model)


def widening(strides: int, flat: bool = False) -> tuple[onnx.ModelProto, str]:
    """A block that widens behind a stem, its shortcut a convolution; and the block's value."""
    net = small.Network()
    steps: dict[str, Any] = {"strides": [strides, strides]}
    x = net.add("Relu", net.conv("x", 3, 4))
    body = net.conv(net.add("Relu", net.conv(x, 4, 8, **steps)), 8, 8)
    end = net.add("Relu", net.add("Add", body, net.conv(x, 4, 8, 1, **steps)))
    return net.model(
        net.add("Reshape", end, net.weight(values=np.array([-1, 8, 64]))) if flat else net.head(end, 8)
    ), end


def test_blocks_that_widen_take_longer_steps() -> None:
    model, end = widening(1)
    student, said = stride_stages(model, 0)
    assert infer_shapes(student)[end] == (1, 8, 4, 4)
    assert macs(student) == 64 * 4 * 27 + 16 * 8 * 36 + 16 * 8 * 72 + 16 * 8 * 4 + 8 * 5
    assert said == "stages: strides of 2 in 1 blocks whose shortcut is a convolution"
    assert answers(student).shape == (3, 5)


def test_blocks_that_stride_already_and_places_that_are_needed_are_refused() -> None:
    with pytest.raises(UnusableModel, match="stages: no block behind the stem keeps its places"):
        stride_stages(widening(2)[0], 0)
    with pytest.raises(UnusableModel, match="stages: the graph needs its places"):
        stride_stages(widening(1, flat=True)[0], 0)
