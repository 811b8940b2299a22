"""Mixed precision and bias correction: against made-up noise, against hand-computed shifts, and on a real model."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import numpy_helper

from controller.compress.cache import PassCache
from controller.compress.calibrate.stream import Feed
from controller.compress.channels.trace import inlined
from controller.compress.passes import find_pass
from controller.compress.passes.base import ENDS_FILE, Artifact, PassContext
from controller.compress.quantised.biases import correct_biases
from controller.compress.quantised.emulated import outputs, sqnr_db
from controller.compress.quantised.mixed import keep_float, sensitivity
from controller.compress.recipe import PassStep
from controller.errors import UnusableModel
from tests.unit.controller.compress.small_models import conv_model, series


class Bench:
    """A quantiser of made-up operators, each of which adds its own noise."""

    def __init__(self, noise: Mapping[str, float]) -> None:
        self.noise = noise
        self.made: list[frozenset[str]] = []

    def quantise(self, kept: frozenset[str]) -> Path:
        self.made.append(kept)
        return Path(",".join(sorted(set(self.noise) - kept)) or "none")

    def judge(self, path: Path) -> float:
        total = sum(self.noise[name] for name in path.name.split(",") if name in self.noise)
        return float("inf") if total == 0 else -10 * np.log10(total)


def test_the_noisiest_stays_float_until_the_limit_is_reached() -> None:
    bench = Bench({"a": 0.001, "b": 0.1, "c": 0.02, "d": 0.002})
    noise = sensitivity(list(bench.noise), bench.quantise, bench.judge)
    assert list(noise) == ["b", "c", "d", "a"]
    found = keep_float(noise, bench.quantise, bench.judge, 24.0)  # 0.003 is 25.2 dB, 0.023 is 16.4
    assert found.kept == ("b", "c")
    assert found.sqnr_db == pytest.approx(25.23, abs=0.01)


@given(st.lists(st.floats(1e-6, 1.0), min_size=1, max_size=12), st.floats(1.0, 70.0))
def test_bisecting_finds_the_fewest(levels: list[float], least_db: float) -> None:
    bench = Bench({f"o{number}": level for number, level in enumerate(levels)})
    order = sensitivity(list(bench.noise), bench.quantise, bench.judge)
    found = keep_float(order, bench.quantise, bench.judge, least_db)
    fewest = next(
        n for n in range(len(order) + 1) if bench.judge(bench.quantise(frozenset(list(order)[:n]))) >= least_db
    )
    assert (len(found.kept), found.sqnr_db >= least_db) == (fewest, True)
    assert bench.judge(found.path) == found.sqnr_db


@given(st.lists(st.floats(1e-6, 1.0), min_size=1, max_size=12), st.floats(1.0, 70.0))
def test_the_last_that_was_made_is_the_one_that_is_told(levels: list[float], least_db: float) -> None:
    """The quantiser writes one file: what is told must be what lies there."""
    bench = Bench({f"o{number}": level for number, level in enumerate(levels)})
    order = sensitivity(list(bench.noise), bench.quantise, bench.judge)
    found = keep_float(order, bench.quantise, bench.judge, least_db)
    assert bench.made[-1] == frozenset(found.kept)


def test_sqnr_by_hand() -> None:
    assert sqnr_db([np.array([10.0, 0.0])], [np.array([9.0, 0.0])]) == pytest.approx(20.0)
    assert sqnr_db([np.array([1.0])], [np.array([1.0])]) == float("inf")


@pytest.fixture
def context(tmp_path: Path) -> PassContext:
    folder = tmp_path / "out"
    folder.mkdir()
    np.save(tmp_path / "calibration.npy", series(64, seed=2)[0])
    return PassContext(folder, PassCache(tmp_path / "cache"), tmp_path / "calibration.npy", "64 series")


def quantised(context: PassContext, **parameters: Any) -> Artifact:
    path = context.folder.parent / "float.onnx"
    onnx.save(conv_model(), path)
    step = PassStep.model_validate({"quantize_static": {"scheme": "u8u8", **parameters}})
    return find_pass(step.name).run(Artifact("onnx", path), step.parameters, context)


def noise_db(made: Artifact) -> float:
    feed = Feed(series(64, seed=2)[0])
    return sqnr_db(outputs(conv_model(), feed), outputs(made.path, feed))


def test_a_limit_that_int8_does_not_reach_leaves_operators_float(context: PassContext) -> None:
    plain = noise_db(quantised(context))
    made = quantised(context, least_sqnr_db=plain + 3)
    assert noise_db(made) >= plain + 3
    assert "of 3 operators stay float: " in made.notes[1]
    assert "not reached" not in made.notes[1]


def test_a_limit_that_int8_reaches_leaves_nothing_float(context: PassContext) -> None:
    made = quantised(context, least_sqnr_db=5.0)
    assert made.notes[1].startswith("0 of 3 operators stay float; SQNR ")


def test_a_limit_that_nothing_reaches_is_told(context: PassContext) -> None:
    assert "110 dB were not reached" in quantised(context, least_sqnr_db=110.0).notes[1]


def test_a_bias_takes_back_what_the_weights_shifted() -> None:
    """By hand: a weight of 0.7 is stored as 1 x 0.5; inputs have mean 2: the mean moves by -0.4, the bias by +0.4."""
    from onnx import TensorProto, helper

    def tensor(name: str, values: Any, dtype: Any) -> onnx.TensorProto:
        return numpy_helper.from_array(np.asarray(values, dtype=dtype), name)

    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 1]) for name in ("x", "y")]
    operator = helper.make_node("Gemm", ["x", "w", "b"], ["y"], transB=1)
    weights = [tensor("w", [[0.7]], np.float32), tensor("b", [0.1], np.float32)]
    graph = helper.make_graph([operator], "one", ends[:1], ends[1:], weights)
    plain = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    stored = onnx.ModelProto()
    stored.CopyFrom(plain)
    stored.graph.initializer.extend(
        [
            tensor("w_quantized", [[1]], np.int8),
            tensor("w_scale", 0.5, np.float32),
            tensor("w_zero_point", 0, np.int8),
            tensor("b_quantized", [10], np.int32),
            tensor("b_quantized_scale", [0.01], np.float32),
        ]
    )
    corrected, count = correct_biases(stored, plain, Feed(np.array([[1.0], [3.0]], dtype=np.float32)))
    assert count == 1
    changed = {each.name: numpy_helper.to_array(each) for each in corrected.graph.initializer}
    assert changed["b_quantized"].tolist() == [50]  # 0.1 + 0.4, in hundredths


def test_corrected_means_are_those_of_the_float_model(context: PassContext) -> None:
    feed = Feed(series(64, seed=2)[0])
    wanted = outputs(conv_model(), feed)[0].mean(axis=0)
    plain, corrected = (
        np.abs(outputs(quantised(context, per_channel=False, bias_correction=on).path, feed)[0].mean(axis=0) - wanted)
        for on in (False, True)
    )
    assert corrected.sum() < plain.sum()


def test_the_note_counts_biases(context: PassContext) -> None:
    assert quantised(context, bias_correction=True).notes[-1] == "3 biases corrected"


def test_adaptive_rounding_loses_less(context: PassContext) -> None:
    made = quantised(context, rounding="adaptive", per_channel=False)
    assert made.notes[-1] == "3 weights rounded adaptively"
    found = noise_db(made)
    assert found > noise_db(quantised(context, per_channel=False))


@pytest.mark.parametrize(
    ("name", "value"), [("least_sqnr_db", 20.0), ("bias_correction", True), ("rounding", "adaptive")]
)
def test_models_with_state_are_told_to_leave_it_out(context: PassContext, name: str, value: Any) -> None:
    assert context.calibration is not None
    context.calibration.with_name(ENDS_FILE).write_text('{"input": "series", "state": {"h": "h_next"}}')
    with pytest.raises(UnusableModel, match=f"{name}.* looks at single queries, and this model keeps state"):
        quantised(context, **{name: value})


def test_without_a_bias_there_is_nothing_to_correct() -> None:
    model = inlined(conv_model())
    for operator in model.graph.node:
        del operator.input[2:]
    assert correct_biases(model, model, Feed(series(2, seed=2)[0]))[1] == 0
