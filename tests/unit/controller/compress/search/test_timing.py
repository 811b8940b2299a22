"""Timing: turns that favour nobody, what several processes say together, and which variants take the same time."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from controller.compress.evaluate import EvaluationContext, evaluate
from controller.compress.search.timing import race
from controller.compress.search.timing.clock import HostClock, graph_shape, laps_of, speed_key
from controller.compress.variant import Variant, baseline_variant
from controller.errors import UnusableModel
from controller.models.folder import ModelFolder
from controller.models.samples import evaluation_samples
from tests.unit.controller.compress.small_models import conv_model, series, write_folder


@pytest.fixture
def baseline(tmp_path: Path) -> Variant:
    return baseline_variant(ModelFolder.load(write_folder(tmp_path / "model")))


def test_every_second_round_runs_backwards(monkeypatch: pytest.MonkeyPatch) -> None:
    turns: list[str] = []
    monkeypatch.setattr(race, "_block_size", lambda _: 1)

    def block(call: str, _: int) -> int:
        turns.append(call)
        return 5

    monkeypatch.setattr(race, "_block", block)
    calls: Any = ["a", "b", "c"]
    assert race.run_race(calls, 2) == [[5, 5, 5], [5, 5, 5]]
    assert turns == ["a", "b", "c", "c", "b", "a"]


def test_a_block_is_short_and_a_slow_call_is_one() -> None:
    spent: list[int] = []
    quick = race._block_size(lambda: spent.append(1))
    assert quick > race.FEWEST_CALLS
    assert race._block_size(lambda: time.sleep(0.021)) == 1


def test_a_ratio_is_of_the_same_round_so_that_what_slows_both_is_in_neither() -> None:
    calm, busy = [[100, 50], [100, 50], [100, 50]], [[300, 150], [900, 450], [100, 50]]
    first, second = laps_of([calm, busy])
    assert first.ratios == (1.0, 1.0)
    assert second.ratios == (0.5, 0.5)
    assert second.ratio == pytest.approx(0.5)
    assert first.ns == (100.0, 300.0)
    assert first.median_ns == pytest.approx((100 * 300) ** 0.5)


def test_a_sitting_times_real_files_beside_each_other(baseline: Variant, tmp_path: Path) -> None:
    clock = HostClock(tmp_path / "lock", series(4, seed=1)[0])
    laps = clock.sitting([baseline, replace(baseline, name="twin")])
    assert [len(one.ns) for one in laps] == [1, 1]
    assert laps[0].ratio == 1.0
    assert all(one.median_ns > 0 for one in laps)
    assert clock.peak_memory(baseline) or 0 > 2**20


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"engine_options": {"threads": 2}}, "with options of its engine a variant is timed on devices"),
        ({"format": "executorch"}, "executorch files are not timed on this host"),
    ],
)
def test_what_is_not_timed_here_says_so(baseline: Variant, tmp_path: Path, change: dict[str, Any], says: str) -> None:
    with pytest.raises(UnusableModel, match=says):
        HostClock(tmp_path / "lock", series(2, seed=1)[0]).sitting([replace(baseline, **change)])


def test_a_file_that_the_engine_refuses_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    np.save(tmp_path / "in.npy", np.zeros((1, 1), np.float32))
    entry = {"format": "onnx", "path": str(tmp_path / "broken.onnx"), "input": "x", "inputs": str(tmp_path / "in.npy")}
    with pytest.raises(UnusableModel, match=r"broken.onnx: ONNX Runtime does not load it"):
        race.opened(entry, 1)


def test_other_weights_take_no_other_time_and_another_operator_does(baseline: Variant, tmp_path: Path) -> None:
    model = conv_model()
    zeroed = onnx.ModelProto.FromString(model.SerializeToString())
    zeroed.graph.initializer[0].CopyFrom(
        onnx.numpy_helper.from_array(np.zeros((8, 1, 5), np.float32), zeroed.graph.initializer[0].name)
    )
    other = onnx.ModelProto.FromString(model.SerializeToString())
    other.graph.node[2].op_type = "Sigmoid"
    paths = [tmp_path / f"{name}.onnx" for name in ("plain", "zeroed", "other")]
    for path, each in zip(paths, (model, zeroed, other), strict=True):
        onnx.save(each, path)
    shapes = [graph_shape(path) for path in paths]
    assert shapes[0] == shapes[1] != shapes[2]
    made = [replace(baseline, model_file=path, precision="int8") for path in paths]
    result: Any = type("Result", (), {"fusion": None, "macs": 1})()
    keys = [speed_key(each, result) for each in made]
    assert keys[0] == keys[1] != keys[2]
    assert speed_key(replace(made[0], engine_options={"threads": 2}), result) != keys[0]


def test_a_graph_that_runs_in_float_is_told_by_its_operators(baseline: Variant, tmp_path: Path) -> None:
    from controller.compress.cache import PassCache

    model = ModelFolder.load(baseline.model_file.parent)
    context = EvaluationContext(PassCache(tmp_path / "cache"), series(2, seed=1)[0])
    result = evaluate(baseline, evaluation_samples(model, tmp_path / "data"), None, context)
    path = tmp_path / "named.onnx"
    renamed = conv_model()
    renamed.graph.node[0].name = "another name"
    onnx.save(renamed, path)
    assert graph_shape(path) != graph_shape(baseline.model_file)
    assert speed_key(replace(baseline, model_file=path), result) == speed_key(baseline, result)
