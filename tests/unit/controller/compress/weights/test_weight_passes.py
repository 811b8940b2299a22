"""The passes on weights: what they write runs, is as they say, and computes what it should."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from controller.compress.cache import PassCache
from controller.compress.passes.base import Artifact, CompressionPass, PassContext
from controller.compress.passes.weights import codebook, equalise, low_rank, prune, prune_channels
from controller.compress.weights.operators import values_of, weighted
from controller.errors import UnusableModel
from tests.unit.controller.compress.channels import small_networks as small
from tests.unit.controller.compress.channels.test_channels import answers

Run = Callable[..., tuple[onnx.ModelProto, Artifact]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def carried_out(
        chosen: CompressionPass, model: onnx.ModelProto, **parameters: Any
    ) -> tuple[onnx.ModelProto, Artifact]:
        onnx.save(model, tmp_path / "in.onnx")
        context = PassContext(tmp_path, PassCache(tmp_path / "cache"))
        made = chosen.run(Artifact("onnx", tmp_path / "in.onnx"), parameters, context)
        return onnx.load(made.path), made

    return carried_out


def wide() -> onnx.ModelProto:
    net = small.Network()
    x = net.add("Relu", net.conv("x", 3, 32))
    x = net.add("Relu", net.conv(x, 32, 40, strides=[2, 2]))
    x = net.add("Relu", net.conv(x, 40, 32, 1))
    hidden = net.add("Relu", net.head(x, 32, 64))
    return net.model(net.add("MatMul", hidden, net.weight(64, 48)))


def all_weights(model: onnx.ModelProto) -> NDArray[np.float32]:
    return np.concatenate([values_of(model, each.weight).ravel() for each in weighted(model)])


@pytest.mark.parametrize("scope", ["layer", "global"])
def test_half_of_the_weights_are_zero_and_the_others_as_they_were(run: Run, scope: str) -> None:
    model = wide()
    pruned, made = run(prune.PASS, model, amount=0.5, scope=scope, pattern=None)
    before, after = all_weights(model), all_weights(pruned)
    assert (after == 0).mean() == pytest.approx(0.5, abs=1e-3)
    np.testing.assert_array_equal(after[after != 0], before[after != 0])
    assert made.notes == (f"{(after == 0).sum()} of {after.size} weights are zero",)
    answers(pruned)


def test_two_of_every_four_that_an_output_reads_are_left(run: Run) -> None:
    pruned, _ = run(prune.PASS, wide(), amount=0.5, scope="layer", pattern="2:4")
    for each in weighted(pruned):
        rows = each.matrix(values_of(pruned, each.weight))
        groups = rows[:, : rows.shape[1] // 4 * 4].reshape(len(rows), -1, 4)
        assert ((groups != 0).sum(axis=2) == 2).all()


def test_channels_are_taken_out(run: Run) -> None:
    smaller, made = run(prune_channels.PASS, wide(), amount=0.5, round_to=8, scope="layer", norm=2.0)
    assert [values_of(smaller, each.weight).shape[0] for each in weighted(smaller)][:3] == [16, 24, 16]
    assert made.notes == ("80 of 168 channels taken out",)
    assert answers(smaller).shape == (3, 48)


def test_what_cannot_lose_channels_says_why(run: Run) -> None:
    with pytest.raises(UnusableModel, match=r"amount 0\.1 of widths 32, 40, 64, rounded up to a multiple of 32"):
        run(prune_channels.PASS, wide(), amount=0.1, round_to=32, scope="layer", norm=2.0)
    net = small.Network()
    with pytest.raises(UnusableModel, match="no channel of this network can"):
        run(prune_channels.PASS, net.model(net.conv("x", 3, 4)), amount=0.5, round_to=1, scope="layer", norm=2.0)


def test_equalised_answers_are_the_same(run: Run) -> None:
    model = wide()
    changed, made = run(equalise.PASS, model)
    np.testing.assert_allclose(answers(changed), answers(model), rtol=1e-3, atol=1e-3)
    assert made.notes == ("4 pairs of operators equalised",)


@pytest.mark.parametrize("levels", ["kmeans", "power_of_two", "mu_law"])
def test_a_table_of_levels_stands_for_the_weights(run: Run, levels: str) -> None:
    model = wide()
    changed, made = run(codebook.PASS, model, bits=4, levels=levels)
    assert made.path.stat().st_size < 0.4 * len(model.SerializeToString())
    assert made.notes == ("4 of 5 weights in tables of 16 levels",)
    tables = [each for each in changed.graph.initializer if each.name.endswith("_table")]
    assert all(len(onnx.numpy_helper.to_array(each)) <= 16 for each in tables)
    signal, noise = answers(model), answers(changed) - answers(model)
    assert 10 * np.log10((signal**2).sum() / (noise**2).sum()) > (12 if levels == "kmeans" else 5)


def test_with_all_levels_that_there_are_nothing_changes(run: Run) -> None:
    model = wide()
    for tensor in model.graph.initializer:
        values = np.round(onnx.numpy_helper.to_array(tensor) * 16) / 16
        tensor.CopyFrom(onnx.numpy_helper.from_array(values.astype(np.float32), tensor.name))
    changed, _ = run(codebook.PASS, model, bits=8, levels="kmeans")
    np.testing.assert_allclose(answers(changed), answers(model), rtol=1e-5, atol=1e-5)


def test_tables_for_small_weights_would_not_pay(run: Run) -> None:
    with pytest.raises(UnusableModel, match="no weight of 1024 values or more"):
        run(codebook.PASS, small.plain(), bits=4, levels="kmeans")


def of_low_rank() -> onnx.ModelProto:
    """Return the network with weights of rank 4, so that nothing is lost."""
    model = wide()
    for each in weighted(model):
        values = values_of(model, each.weight).astype(np.float64)
        for axis in (0, 1):
            rows = np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1)
            left, singular, right = np.linalg.svd(rows, full_matrices=False)
            rows = (left[:, :4] * singular[:4]) @ right[:4]
            moved = (values.shape[axis], *values.shape[:axis], *values.shape[axis + 1 :])
            values = np.moveaxis(rows.reshape(moved), 0, axis)
        tensor = next(one for one in model.graph.initializer if one.name == each.weight)
        tensor.CopyFrom(onnx.numpy_helper.from_array(np.ascontiguousarray(values, np.float32), each.weight))
    return model


def test_factors_of_what_has_few_ranks_compute_the_same(run: Run) -> None:
    model = of_low_rank()
    changed, made = run(low_rank.PASS, model, energy=0.999999)
    np.testing.assert_allclose(answers(changed), answers(model), rtol=1e-3, atol=1e-3)
    assert all_weights(changed).size < 0.35 * all_weights(model).size
    assert made.notes[0].endswith("of 5 operators replaced by factors")
    assert [each.op_type for each in changed.graph.node].count("MatMul") == 2


def test_where_factors_would_be_larger_it_says_so(run: Run) -> None:
    with pytest.raises(UnusableModel, match="no operator becomes smaller with 100% of its energy"):
        run(low_rank.PASS, wide(), energy=1.0)
