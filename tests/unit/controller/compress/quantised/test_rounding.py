"""Adaptive rounding: against trying every rounding, and the moments against plain convolutions."""

import itertools
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from controller.compress.calibrate.stream import Feed
from controller.compress.channels.trace import inlined
from controller.compress.quantised.adaptive import round_adaptively
from controller.compress.quantised.emulated import outputs, sqnr_db
from controller.compress.quantised.moments import is_read_whole, moments_of, moments_of_each
from controller.compress.quantised.rounding import adaround, loss
from controller.compress.weights.operators import values_of, weighted
from tests.unit.controller.compress.channels import small_networks as small
from tests.unit.controller.compress.small_models import conv_model, series

Matrix = NDArray[np.float64]


def problem(seed: int, outputs_: int, inputs: int) -> tuple[Matrix, Matrix, Matrix]:
    """Return a weight, its scale, and the moments of inputs that depend on each other."""
    random = np.random.default_rng(seed)
    rows = random.normal(size=(200, inputs)) @ random.normal(size=(inputs, inputs)) + random.normal(size=inputs)
    weight = random.normal(0, 1, (outputs_, inputs))
    return weight, np.abs(weight).max(axis=1, keepdims=True) / 7, rows.T @ rows / len(rows)


@settings(max_examples=20)
@given(st.integers(0, 1000), st.integers(1, 5), st.integers(1, 20))
def test_it_is_never_worse_than_the_nearest(seed: int, outputs_: int, inputs: int) -> None:
    weight, scale, moments = problem(seed, outputs_, inputs)
    assert loss(adaround(weight, scale, (-7, 7), moments) * scale - weight, moments) <= nearest_loss(
        weight, scale, moments
    )


def nearest_loss(weight: Matrix, scale: Matrix, moments: Matrix) -> float:
    return loss(np.clip(np.rint(weight / scale), -7, 7) * scale - weight, moments)


def test_most_of_what_the_best_of_all_roundings_gains_is_gained() -> None:
    left = []
    for seed in range(12):
        weight, scale, moments = problem(seed, 1, 8)
        every = (np.floor(weight / scale) + np.array(up) for up in itertools.product((0, 1), repeat=8))
        best = min(loss(np.clip(each, -7, 7) * scale - weight, moments) for each in every)
        found = loss(adaround(weight, scale, (-7, 7), moments) * scale - weight, moments)
        left.append((found - best) / (nearest_loss(weight, scale, moments) - best + 1e-12))
    assert np.mean(left) < 0.35


def test_with_inputs_that_depend_on_each_other_much_is_gained() -> None:
    weight, scale, moments = problem(3, 32, 64)
    found = loss(adaround(weight, scale, (-7, 7), moments) * scale - weight, moments)
    assert found < 0.5 * nearest_loss(weight, scale, moments)


def test_with_independent_inputs_the_nearest_is_best() -> None:
    weight, scale, _ = problem(4, 6, 10)
    np.testing.assert_array_equal(adaround(weight, scale, (-7, 7), np.eye(10)), np.clip(np.rint(weight / scale), -7, 7))


def test_levels_stay_within_their_limits() -> None:
    weight, scale, moments = problem(5, 8, 12)
    levels = adaround(weight, scale / 4, (-8, 7), moments)
    assert (levels.min(), levels.max()) == (-8, 7)


@pytest.mark.parametrize(
    "more", [{}, {"strides": [2, 1]}, {"dilations": [2, 2]}, {"strides": [2, 2], "dilations": [1, 2]}], ids=str
)
def test_moments_of_a_convolution_say_what_its_outputs_are_worth(more: dict[str, Any]) -> None:
    """E[(w x)^2] is w H w^T: the mean square of the outputs, bias aside."""
    net = small.Network()
    weight = net.weight(5, 3, 3, 3)
    model = net.model(net.add("Conv", "x", weight, pads=[1, 1, 0, 2], **more))
    (each,) = weighted(model)
    feed = Feed(np.random.default_rng(0).normal(1, 1, (4, 3, small.SIZE, small.SIZE)).astype(np.float32))
    moments = moments_of(model, each, feed)
    rows = each.matrix(values_of(model, weight)).astype(np.float64)
    expected = np.moveaxis(outputs(model, feed)[0], 1, 0).reshape(5, -1)
    np.testing.assert_allclose(np.einsum("oi,ij,oj->o", rows, moments, rows), (expected**2).mean(axis=1), rtol=1e-5)
    assert is_read_whole(model, each)


def test_moments_of_a_product() -> None:
    model = small.places_in_a_row()
    each = weighted(model)[-1]
    feed = Feed(np.random.default_rng(0).normal(size=(4, 3, small.SIZE, small.SIZE)).astype(np.float32))
    rows = each.matrix(values_of(model, each.weight)).astype(np.float64)
    moments = moments_of(model, each, feed)
    expected = (outputs(model, feed)[0] ** 2).mean(axis=0)
    np.testing.assert_allclose(np.einsum("oi,ij,oj->o", rows, moments, rows), expected, rtol=1e-5)


@pytest.mark.parametrize("most_bytes", [0, 10**9], ids=["one at a time", "all at once"])
def test_moments_of_many_operators_are_those_of_each(most_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model = small.places_in_a_row()
    feed = Feed(np.random.default_rng(0).normal(size=(4, 3, small.SIZE, small.SIZE)).astype(np.float32))
    own = weighted(model)
    alone = [moments_of(model, each, feed) for each in own]
    monkeypatch.setattr("controller.compress.quantised.moments.MOST_BYTES", most_bytes)
    together = list(moments_of_each(model, own, feed))
    assert [each for each, _ in together] == own
    for (_, found), expected in zip(together, alone, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_groups_are_left_to_nearest_rounding() -> None:
    model = small.inverted_bottleneck()
    assert [is_read_whole(model, each) for each in weighted(model)] == [True, False, True, True]


def test_a_quantised_model_answers_more_like_the_float_one() -> None:
    """Eight bits leave little to gain, so that the weights' scale is made coarse."""
    plain = inlined(conv_model())
    stored = onnx.ModelProto()
    stored.CopyFrom(plain)
    for name in ("w1", "w2", "head"):
        values = values_of(plain, name)
        scale = np.abs(values).reshape(len(values), -1).max(axis=1) / 7
        axes = (-1, *[1] * (values.ndim - 1))
        levels = np.clip(np.rint(values / scale.reshape(axes)), -7, 7).astype(np.int8)
        zero = np.zeros(len(values), dtype=np.int8)
        parts = {"quantized": levels, "scale": scale.astype(np.float32), "zero_point": zero}
        stored.graph.initializer.extend(numpy_helper.from_array(part, f"{name}_{key}") for key, part in parts.items())
        read = helper.make_node("DequantizeLinear", [f"{name}_{key}" for key in parts], [f"{name}_read"], axis=0)
        stored.graph.node.insert(0, read)
        for operator in stored.graph.node[1:]:
            operator.input[:] = [f"{name}_read" if each == name else each for each in operator.input]
    feed = Feed(series(48, seed=2)[0])
    rounded, count = round_adaptively(stored, plain, feed, (-7, 7))
    assert count == 3
    test = Feed(series(48, seed=3)[0])
    wanted = outputs(plain, test)
    assert sqnr_db(wanted, outputs(rounded, test)) > sqnr_db(wanted, outputs(stored, test)) + 2
