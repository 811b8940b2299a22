"""Variants of what was imported as it is: a bare TFLite file, float or quantised, and a model that carries state."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from controller.compress.build import build_variants
from controller.compress.cache import PassCache
from controller.compress.process.run import EvaluationContext, run_variant
from controller.compress.recipe import Recipe
from controller.compress.variant import FailedVariant, Variant, baseline_variant
from controller.errors import UnusableModel
from controller.models.folder import ModelFolder
from tests.unit.controller.compress.small_tflite import expected, rows, write_tflite
from tests.unit.controller.models.sources.small_graphs import linear, recurrent, save

pytestmark = pytest.mark.usefixtures("children_here")

YAML = """\
schema: 1
name: bare
version: "1"
kind: regression
formats: {FORMATS}
pre: {kind: tensor}
post: {kind: regression}
"""


def recipe(name: str, form: str, *passes: dict[str, Any]) -> Recipe:
    return Recipe.model_validate({"version": 1, "name": name, "formats": [form], "passes": list(passes)})


FLOAT = recipe("float", "tflite", {"tflite_float": {}})
INT8 = recipe("int8", "tflite", {"tflite_quantize": {"mode": "static"}})
ONNX = recipe("plain", "onnx", {"simplify": {}})


def folder(root: Path, formats: str) -> ModelFolder:
    (root / "model.yaml").write_text(YAML.replace("{FORMATS}", formats))
    return ModelFolder.load(root)


def built(model: ModelFolder, root: Path, *recipes: Recipe) -> list[Variant | FailedVariant]:
    return build_variants(model, list(recipes), rows(32), PassCache(root / "cache"), lambda *_: None)


def test_a_bare_tflite_file_is_the_baseline_and_can_be_quantised(tmp_path: Path) -> None:
    write_tflite(tmp_path / "m.tflite")
    model = folder(tmp_path, "{tflite: {file: m.tflite}}")
    baseline = baseline_variant(model)
    assert (baseline.format, baseline.engine, baseline.precision) == ("tflite", "litert", "float32")
    real, int8, onnx = built(model, tmp_path, FLOAT, INT8, ONNX)
    assert isinstance(real, Variant)
    assert isinstance(int8, Variant)
    assert isinstance(onnx, FailedVariant)
    assert (real.precision, int8.precision) == ("float32", "int8")
    assert "bare@1 has no onnx file; it has tflite" in onnx.because
    context = EvaluationContext(PassCache(tmp_path / "outputs"), rows(1))
    outputs = np.load(run_variant(baseline, rows(4, seed=8), context))
    np.testing.assert_allclose(outputs, expected(rows(4, seed=8)), atol=1e-4)


def test_a_quantised_tflite_file_is_served_as_it_is_and_says_what_cannot_be_done(tmp_path: Path) -> None:
    write_tflite(tmp_path / "m.tflite")
    first = built(folder(tmp_path, "{tflite: {file: m.tflite}}"), tmp_path, INT8)[0]
    assert isinstance(first, Variant)
    quantised = tmp_path / "quantised"
    quantised.mkdir()
    (quantised / "m.tflite").write_bytes(first.model_file.read_bytes())
    model = folder(quantised, "{tflite: {file: m.tflite}}")
    baseline = baseline_variant(model)
    assert baseline.precision == "int8"
    for one in built(model, tmp_path, FLOAT, INT8):
        assert isinstance(one, FailedVariant)
        assert "takes float32 files, this one is int8: import the float file" in one.because


def test_weights_beside_the_file_are_no_bundle(tmp_path: Path) -> None:
    save(linear(), tmp_path / "m.onnx", external="weights.bin")
    with pytest.raises(UnusableModel, match=r"weights lie in weights\.bin beside it.*controller model import"):
        baseline_variant(folder(tmp_path, "{onnx: {file: m.onnx}}"))


@pytest.mark.parametrize("scheme", ["u8s8"])
def test_a_model_with_state_is_quantised_and_keeps_it(scheme: str, tmp_path: Path) -> None:
    save(recurrent(), tmp_path / "m.onnx")
    model = folder(tmp_path, "{onnx: {file: m.onnx, input: chunk, output: level, state: {h: h_out}}}")
    queries = np.random.default_rng(3).uniform(0, 1, (32, 4)).astype(np.float32)  # one stream: `h` reaches 2
    steps = [recipe("int8", "onnx", {"quantize_static": {"scheme": scheme}})]
    made = build_variants(model, steps, queries, PassCache(tmp_path / "cache"), lambda *_: None)[0]
    assert isinstance(made, Variant), made.because
    assert made.pipeline.state is not None
    assert made.pipeline.state[0].input.name == "h"
    context = EvaluationContext(PassCache(tmp_path / "outputs"), queries[:1])
    ones = np.full((3, 4), 0.5, np.float32)
    exact = np.load(run_variant(baseline_variant(model), ones, context)).ravel()
    np.testing.assert_allclose(exact, [0.5, 0.75, 0.875])
    np.testing.assert_allclose(np.load(run_variant(made, ones, context)).ravel(), exact, atol=0.05)
