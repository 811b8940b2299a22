"""Building: variants in the recipes' order, failures that stay alone, keys that change with what matters."""

import errno
import json
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from controller.compress import build
from controller.compress.build import build_variants, pass_key
from controller.compress.cache import PassCache
from controller.compress.passes import find_pass
from controller.compress.passes.base import Artifact
from controller.compress.process import start, step
from controller.compress.process.start import PassFailed, run_child, run_step
from controller.compress.recipe import Recipe
from controller.compress.variant import FailedVariant, Variant, baseline_variant
from controller.convert.digest import model_digest
from controller.errors import DiskFull
from controller.models.folder import ModelFolder
from controller.models.samples import calibration_samples
from tests.unit.controller.compress.small_models import conv_model, run, series, write_folder


@pytest.fixture
def model(tmp_path: Path) -> ModelFolder:
    return ModelFolder.load(write_folder(tmp_path / "model"))


def recipe(name: str, *passes: dict[str, Any], form: str = "onnx") -> Recipe:
    return Recipe.model_validate({"version": 1, "name": name, "formats": [form], "passes": list(passes)})


INT8 = recipe("int8", {"simplify": {}}, {"quantize_static": {}})
HALF = recipe("half", {"simplify": {}}, {"float16": {}})


def test_variants_come_in_order_and_a_second_build_runs_nothing(model: ModelFolder, tmp_path: Path) -> None:
    calibration, said = calibration_samples(model, tmp_path / "samples"), []
    first = build_variants(model, [INT8, HALF], calibration, PassCache(tmp_path / "c"), lambda *what: said.append(what))
    again = build_variants(model, [INT8, HALF], calibration, PassCache(tmp_path / "c"), lambda *what: said.append(what))
    assert [one.name for one in first] == ["onnx-int8", "onnx-half"]
    assert all(isinstance(one, Variant) and not one.cached for one in first)
    assert all(isinstance(one, Variant) and one.cached for one in again)
    assert sum(what == "simplify" for _, what in said) == 1  # once for two recipes and two builds
    int8 = first[0]
    assert isinstance(int8, Variant)
    assert int8.precision == "int8"
    assert int8.lineage[0] == "simplify()"
    assert int8.recipe["passes"][1]["quantize_static"]["scheme"] == "u8s8"
    assert int8.pipeline.pre.input.name == "series"


@pytest.mark.usefixtures("children_here")
def test_a_pass_calibrates_on_what_the_model_takes_not_on_raw_queries(model: ModelFolder, tmp_path: Path) -> None:
    """The pipeline normalises each series: shifted and scaled queries must give the same variant."""
    queries = calibration_samples(model, tmp_path / "samples")
    made = []
    for number, calibration in enumerate((queries, (50 + 9 * queries).astype(np.float32))):
        built = build_variants(model, [INT8], calibration, PassCache(tmp_path / f"c{number}"), lambda *_: None)[0]
        assert isinstance(built, Variant)
        made.append(built)
    inputs, _ = series(12, seed=3)
    assert np.allclose(run(made[0].model_file, inputs), run(made[1].model_file, inputs), atol=0.1)


@pytest.mark.usefixtures("children_here")
def test_a_format_that_the_model_lacks_fails_alone(model: ModelFolder, tmp_path: Path) -> None:
    lite = recipe("tflite-float", {"tflite_float": {}}, form="tflite")
    failed, made = build_variants(model, [lite, HALF], np.zeros((0, 1, 64)), PassCache(tmp_path / "c"), lambda *_: None)
    assert isinstance(failed, FailedVariant)
    assert "has no tflite file" in failed.because
    assert isinstance(made, Variant)


@pytest.mark.usefixtures("children_here")
def test_a_pass_that_needs_samples_and_has_none_fails_alone(model: ModelFolder, tmp_path: Path) -> None:
    failed, made = build_variants(model, [INT8, HALF], np.zeros((0, 1, 64)), PassCache(tmp_path / "c"), lambda *_: None)
    assert isinstance(failed, FailedVariant)
    assert failed.pass_name == "quantize_static"
    assert "add `data` to model.yaml" in failed.because
    assert isinstance(made, Variant)


@pytest.mark.parametrize(
    ("code", "says"),
    [
        (f"import os; os.kill(os.getpid(), {int(signal.SIGSEGV)})", "crashed with signal 11"),
        (f"import os; os.kill(os.getpid(), {int(signal.SIGKILL)})", "ran out of memory"),
        ("raise ValueError('the pass is broken')", "the pass is broken"),
        ("pass", "failed with exit code 0"),
    ],
)
def test_a_child_that_dies_says_how(code: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "dying.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(PassFailed, match=says):
        run_child("dying", {}, tmp_path, "quantize_static")


@pytest.mark.usefixtures("children_here")
def test_a_crashing_pass_becomes_a_failed_variant(
    model: ModelFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(order: dict[str, Any], folder: Path, name: str, longest_s: float) -> dict[str, Any]:
        if name == "float16":
            raise PassFailed(name, f"{name} crashed with signal 11", "Segmentation fault")
        return started(order, folder, name, longest_s)

    started = run_step
    monkeypatch.setattr(build, "run_step", crash)
    simple = recipe("simple", {"simplify": {}})
    failed, made = build_variants(
        model, [HALF, simple], np.zeros((0, 1, 64)), PassCache(tmp_path / "c"), lambda *_: None
    )
    assert failed == FailedVariant(
        "onnx-half", failed.recipe, "onnx", "float16", "float16 crashed with signal 11", "Segmentation fault"
    )
    assert isinstance(made, Variant)


def test_two_builds_from_nothing_give_the_same_bytes(model: ModelFolder, tmp_path: Path) -> None:
    calibration = calibration_samples(model, tmp_path / "samples")
    files = []
    for number in range(2):
        built = build_variants(model, [INT8], calibration, PassCache(tmp_path / f"c{number}"), lambda *_: None)[0]
        assert isinstance(built, Variant)
        files.append(built.model_file.read_bytes())
    assert files[0] == files[1]


def test_a_full_disk_in_a_pass_ends_the_build(
    model: ModelFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_order: dict[str, Any]) -> dict[str, Any]:
        raise OSError(errno.ENOSPC, "full")

    def in_this_process(
        _module: str, order: dict[str, Any], folder: Path, _name: str, _longest_s: float
    ) -> dict[str, Any]:
        (folder / "order.json").write_text(json.dumps({**order, "result_path": str(folder / "result.json")}))
        assert step.main([str(folder / "order.json")]) == 0
        found: dict[str, Any] = json.loads((folder / "result.json").read_text())
        return found

    monkeypatch.setattr(step, "run_pass", full)
    monkeypatch.setattr(step, "_first_to_go", lambda: None)
    monkeypatch.setattr(start, "run_child", in_this_process)
    with pytest.raises(DiskFull, match="no room on this disk"):
        build_variants(model, [HALF], np.zeros((0, 1, 64)), PassCache(tmp_path / "c"), lambda *_: None)
    assert [path.name for path in (tmp_path / "c").iterdir()] == ["locks"]


def test_a_key_changes_with_all_that_matters_and_with_nothing_else(model: ModelFolder, tmp_path: Path) -> None:
    chosen, artifact = find_pass("quantize_static"), Artifact("onnx", model.file("onnx"))
    key = pass_key(chosen, {"scheme": "u8s8"}, artifact, "samples", 0)
    other = conv_model()
    other.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.zeros((8, 1, 5), np.float32), "w1"))
    onnx.save(other, tmp_path / "other.onnx")
    noted = conv_model()
    noted.producer_name, noted.doc_string = "someone", "a note"
    onnx.save(noted, tmp_path / "noted.onnx")
    assert pass_key(chosen, {"scheme": "s8s8"}, artifact, "samples", 0) != key
    assert pass_key(chosen, {"scheme": "u8s8"}, artifact, "other samples", 0) != key
    assert pass_key(chosen, {"scheme": "u8s8"}, artifact, "samples", 1) != key
    assert pass_key(chosen, {"scheme": "u8s8"}, replace(artifact, path=tmp_path / "other.onnx"), "samples", 0) != key
    assert pass_key(chosen, {"scheme": "u8s8"}, replace(artifact, path=tmp_path / "noted.onnx"), "samples", 0) == key


def test_a_key_changes_with_the_version_of_a_library(model: ModelFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen, artifact = find_pass("simplify"), Artifact("onnx", model.file("onnx"))
    before = pass_key(chosen, {}, artifact, "", 0)
    monkeypatch.setattr(build, "version", lambda _name: "99.0")
    assert pass_key(chosen, {}, artifact, "", 0) != before


def test_the_order_of_the_weights_in_the_file_does_not_count(tmp_path: Path) -> None:
    model = conv_model()
    onnx.save(model, tmp_path / "a.onnx")
    weights = list(model.graph.initializer)
    del model.graph.initializer[:]
    model.graph.initializer.extend(reversed(weights))
    onnx.save(model, tmp_path / "b.onnx")
    assert model_digest("onnx", tmp_path / "a.onnx") == model_digest("onnx", tmp_path / "b.onnx")


def test_a_child_learns_no_telemetry_and_the_parents_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "telling.py").write_text(
        "import json, os, sys\n"
        "order = json.load(open(sys.argv[1]))\n"
        "told = {'telemetry': os.environ['ORT_DISABLE_TELEMETRY'], 'given': order['given']}\n"
        "json.dump(told, open(order['result_path'], 'w'))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY", raising=False)
    assert run_child("telling", {"given": 3}, tmp_path, "telling") == {"telemetry": "1", "given": 3}
    assert "order.json" not in os.listdir(tmp_path)


def test_the_baseline_is_the_models_own_file(model: ModelFolder) -> None:
    baseline = baseline_variant(model)
    assert baseline.model_file == model.file("onnx")
    assert (baseline.lineage, baseline.precision, baseline.engine) == ((), "float32", "onnxruntime")
