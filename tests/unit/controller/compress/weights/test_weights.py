"""Fewer weights, fewer values, smaller factors: against hand-computed cases and what theory says of them."""

from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from controller.compress.weights import codebook, factors, sparsify
from controller.compress.weights.equalise import Pair, columns_of, equalise, pairs
from controller.compress.weights.operators import values_of
from tests.unit.controller.compress.channels import small_networks as small
from tests.unit.controller.compress.channels.test_channels import answers


def test_the_smallest_weights_go_in_each_layer_or_over_all() -> None:
    importance = {"a": np.array([[4.0, 1.0], [3.0, 2.0]]), "b": np.array([0.1, 0.2])}
    each = sparsify.masks(importance, 0.5)
    np.testing.assert_array_equal(each["a"], [[True, False], [True, False]])
    np.testing.assert_array_equal(each["b"], [False, True])
    over_all = sparsify.masks(importance, 0.5, "global")
    np.testing.assert_array_equal(over_all["a"], [[True, False], [True, True]])
    assert not over_all["b"].any()


@given(st.floats(0, 1), st.integers(1, 40), st.sampled_from(["layer", "global"]))
def test_as_many_are_zero_as_was_asked_for(amount: float, size: int, scope: Any) -> None:
    found = sparsify.masks({"w": np.ones((size, 3))}, amount, scope)["w"]
    assert (~found).sum() == round(found.size * amount)  # also where all are equal


def test_two_of_four_stay() -> None:
    stays = sparsify.n_of_m(np.array([[1.0, 5.0, 2.0, 4.0, 9.0, 9.0, 9.0, 9.0, 0.0]]), 2, 4)
    np.testing.assert_array_equal(stays, [[False, True, False, True, True, True, False, False, True]])


@pytest.mark.parametrize("call", [lambda: sparsify.masks({}, 1.5), lambda: sparsify.n_of_m(np.ones((1, 4)), 5, 4)])
def test_amounts_that_make_no_sense_are_refused(call: Any) -> None:
    with pytest.raises(ValueError, match="expected"):
        call()


def test_kmeans_finds_the_groups_that_are_there() -> None:
    weights = np.array([-1.0, -1.1, -0.9, 0.0, 0.1, 2.0, 2.2])
    table = codebook.levels(weights, 2, "kmeans")
    np.testing.assert_allclose(table[[0, -1]], [-1.0, 2.1], atol=0.11)
    np.testing.assert_allclose(codebook.levels(np.array([3.0, 3.0, 1.0]), 4, "kmeans"), [1.0, 3.0])  # exact where few


def test_powers_of_two_by_hand() -> None:
    table = codebook.levels(np.array([0.9, -0.3, 0.0]), 3, "power_of_two")
    np.testing.assert_array_equal(table, [-1, -0.5, -0.25, 0, 0.25, 0.5, 1])
    np.testing.assert_array_equal(table[codebook.places(np.array([0.9, -0.3, 0.01]), table)], [1, -0.25, 0])


def test_mu_law_by_hand() -> None:
    table = codebook.levels(np.array([2.0, -1.0]), 2, "mu_law")
    half = 2 * (256**0.5 - 1) / 255
    np.testing.assert_allclose(table, [-half, 0, half, 2])


@settings(max_examples=60)
@given(st.integers(0, 10_000), st.integers(1, 8), st.sampled_from(["kmeans", "power_of_two", "mu_law"]))
def test_levels_are_sorted_few_and_the_nearest_is_taken(seed: int, bits: int, kind: Any) -> None:
    weights = np.random.default_rng(seed).normal(0, 0.2, (7, 31))
    table = codebook.levels(weights, bits, kind)
    assert 1 <= len(table) <= 2**bits
    assert (np.diff(table) > 0).all()
    taken = table[codebook.places(weights, table)]
    np.testing.assert_allclose(np.abs(taken - weights), np.abs(weights[..., None] - table).min(axis=-1))


def test_kmeans_is_no_worse_than_levels_that_are_evenly_apart() -> None:
    weights = np.random.default_rng(1).normal(0, 0.2, 5000)
    even = np.linspace(weights.min(), weights.max(), 16)

    def error(table: NDArray[np.float64]) -> float:
        return float(((table[codebook.places(weights, table)] - weights) ** 2).mean())

    assert error(codebook.levels(weights, 4, "kmeans")) < 0.8 * error(even)


@pytest.mark.parametrize(("weights", "bits"), [([1.0], 0), ([1.0], 9), ([np.nan], 4), ([np.inf], 4)])
def test_what_has_no_levels_is_refused(weights: list[float], bits: int) -> None:
    with pytest.raises(ValueError, match=r"expected 1 to 8|NaN or infinite"):
        codebook.levels(np.array(weights), bits, "kmeans")


def test_weights_of_nothing_but_zeros_have_one_level() -> None:
    for kind in ("kmeans", "power_of_two", "mu_law"):
        np.testing.assert_array_equal(codebook.levels(np.zeros(5), 4, kind), [0.0])


def test_ranks_by_energy() -> None:
    singular = np.array([3.0, 4.0, 0.0])[[1, 0, 2]]  # squares 16, 9, 0 of 25
    assert [factors.rank_of(singular, energy) for energy in (0.5, 0.64, 0.65, 1.0)] == [1, 1, 2, 2]
    assert factors.rank_of(np.zeros(3), 0.9) == 1


def test_a_matrix_of_low_rank_is_found_again() -> None:
    random = np.random.default_rng(2)
    weight = random.normal(size=(20, 3)) @ random.normal(size=(3, 30))
    left, right = factors.of_matrix(weight, 0.999999)
    assert (left.shape, right.shape) == ((20, 3), (3, 30))
    np.testing.assert_allclose(left @ right, weight, atol=1e-9)


@settings(max_examples=30)
@given(st.integers(0, 10_000), st.floats(0.3, 0.99))
def test_the_energy_that_was_asked_for_is_kept(seed: int, energy: float) -> None:
    random = np.random.default_rng(seed)
    weight = random.normal(size=(12, 9))
    left, right = factors.of_matrix(weight, energy)
    assert ((left @ right) ** 2).sum() >= energy * (weight**2).sum() * (1 - 1e-9)
    conv = random.normal(size=(8, 6, 3))
    tucker = factors.of_convolution(conv, energy)
    lost = ((tucker.restored() - conv) ** 2).sum() / (conv**2).sum()
    assert lost <= 2 * (1 - energy) + 1e-9  # the bound of the higher-order SVD


def test_a_convolution_of_low_rank_is_found_again() -> None:
    random = np.random.default_rng(3)
    weight = np.einsum("or,rsk,si->oik", *(random.normal(size=shape) for shape in ((8, 2), (2, 3, 5), (3, 6))))
    tucker = factors.of_convolution(weight, 0.9999999)
    assert (tucker.reading.shape, tucker.core.shape, tucker.making.shape) == ((3, 6), (2, 3, 5), (8, 2))
    np.testing.assert_allclose(tucker.restored(), weight, atol=1e-8)
    assert tucker.size == 18 + 30 + 16


def uneven(model: onnx.ModelProto) -> onnx.ModelProto:
    """Multiply some channels of every weight, as batch normalisation does when it is folded."""
    random = np.random.default_rng(4)
    for tensor in model.graph.initializer:
        if len(tensor.dims) == 4:
            values = onnx.numpy_helper.to_array(tensor) * np.exp(random.normal(0, 2, (tensor.dims[0], 1, 1, 1)))
            tensor.CopyFrom(onnx.numpy_helper.from_array(values.astype(np.float32), tensor.name))
    return model


def chain() -> onnx.ModelProto:
    net = small.Network()
    x = net.add("Relu", net.conv("x", 3, 16))
    x = net.add("MaxPool", net.add("LeakyRelu", net.conv(x, 16, 16, group=16), alpha=0.1), kernel_shape=[2, 2])
    x = net.add("ReduceMean", net.conv(x, 16, 8), net.weight(values=np.array([-1, -2])), keepdims=0)
    hidden = net.add("Relu", net.add("Gemm", x, net.weight(8, 12), net.weight(12)))
    return net.model(net.add("MatMul", hidden, net.weight(12, 5)))


def test_equal_ranges_and_the_same_function() -> None:
    model = uneven(chain())
    equalised, count = equalise(model)
    assert count == 4
    np.testing.assert_allclose(answers(equalised), answers(model), rtol=2e-3, atol=2e-3 * np.abs(answers(model)).max())
    assert all(largest_difference(equalised, pair) < 0.01 for pair in pairs(equalised))
    assert any(largest_difference(model, pair) > 1 for pair in pairs(model))


def largest_difference(model: onnx.ModelProto, pair: Pair) -> float:
    """Return how far apart the ranges of a channel are at most: where it is made, and where it is read."""
    rows = np.abs(pair.first.matrix(values_of(model, pair.first.weight))).max(axis=1)
    columns = np.abs(columns_of(pair.second, values_of(model, pair.second.weight))).max(axis=1)
    return float(np.abs(np.log(rows / columns)).max())


def test_the_factor_by_hand() -> None:
    """Rows of at most 4 and 1, read by at most 1 and 4: the factor sqrt(4/1) makes both 2."""
    net = small.Network()
    flat = net.add("Flatten", net.add("ReduceMean", "x", net.weight(values=np.array([2])), keepdims=0))
    made = net.weight(values=np.concatenate([np.full((24, 1), 4.0), np.full((24, 1), 1.0)], axis=1).astype(np.float32))
    read = net.weight(values=np.array([[1.0], [4.0]], dtype=np.float32))
    hidden = net.add("Relu", net.add("MatMul", flat, made))
    equalised, _ = equalise(net.model(net.add("MatMul", hidden, read)))
    np.testing.assert_allclose(values_of(equalised, made)[0], [2, 2])
    np.testing.assert_allclose(values_of(equalised, read)[:, 0], [2, 2])


@pytest.mark.parametrize("network", small.NETWORKS, ids=lambda network: network.__name__)
def test_whatever_is_found_computes_the_same(network: Any) -> None:
    model = uneven(network())
    wanted = answers(model)
    np.testing.assert_allclose(answers(equalise(model)[0]), wanted, rtol=2e-3, atol=2e-3 * np.abs(wanted).max())


@settings(max_examples=30)
@given(st.integers(0, 10_000), st.integers(1, 9))
def test_random_networks_compute_the_same(seed: int, steps: int) -> None:
    model = uneven(small.random_network(seed, steps))
    wanted = answers(model)
    np.testing.assert_allclose(answers(equalise(model)[0]), wanted, rtol=5e-3, atol=5e-3 * np.abs(wanted).max())


def test_what_two_read_what_stops_at_six_and_what_is_an_output_is_left_alone() -> None:
    assert pairs(small.inverted_bottleneck())[:1] != []  # behind the ReLU6, from the depthwise one on
    assert all(pair.first.index > 0 for pair in pairs(small.inverted_bottleneck()))
    assert pairs(small.squeeze_and_excite())[0].first.index > 0
    net = small.Network()
    first = net.conv("x", 3, 4)
    assert pairs(net.model(first, net.conv(first, 4, 2))) == []
