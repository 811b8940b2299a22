"""Offline evaluation through the agent's own worker, as a child process."""

from pathlib import Path

import numpy as np
import pytest

from controller.compress import evaluate as evaluation
from controller.compress.build import build_variants
from controller.compress.cache import PassCache
from controller.compress.evaluate import EvaluationContext, evaluate, in_units
from controller.compress.process import run as running
from controller.compress.recipe import Recipe
from controller.compress.variant import Variant, baseline_variant
from controller.errors import UnusableModel
from controller.models.folder import ModelFolder
from controller.models.preprocess import prepare
from controller.models.samples import calibration_samples, evaluation_samples, golden_inputs
from tests.unit.controller.compress.small_models import MODEL_YAML, run, write_folder
from wire.spec import RegressionPost, TensorSpec

INT8 = Recipe.model_validate(
    {"version": 1, "name": "int8", "formats": ["onnx"], "passes": [{"quantize_static": {"scheme": "u8u8"}}]}
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("evaluation")
    # Queries go in as they are: kernels that would have to be compiled first are compared in test_preprocess.py.
    normalised = MODEL_YAML[MODEL_YAML.index("pre:") : MODEL_YAML.index("post:")]
    plain = MODEL_YAML.replace(normalised, "pre: {kind: tensor}\n").replace(", layout: NCL", "")
    write_folder(root / "model", plain)
    return root


@pytest.fixture
def model(folder: Path) -> ModelFolder:
    return ModelFolder.load(folder / "model")


@pytest.fixture
def context(folder: Path, model: ModelFolder) -> EvaluationContext:
    golden = golden_inputs(model, folder / "samples", count=4)
    return EvaluationContext(PassCache(folder / "cache"), golden)


def test_the_worker_computes_what_the_pipeline_says(
    folder: Path, model: ModelFolder, context: EvaluationContext
) -> None:
    samples, baseline = evaluation_samples(model, folder / "samples"), baseline_variant(model)
    result = evaluate(baseline, samples, None, context)
    expected = run(baseline.model_file, prepare(baseline.pipeline.pre, samples.inputs))
    assert np.allclose(result.outputs(), expected, atol=1e-4)
    assert result.outputs().shape == (90, 3)
    golden = run(baseline.model_file, prepare(baseline.pipeline.pre, context.golden_inputs))
    assert np.allclose(result.golden_outputs, golden, atol=1e-4)
    assert result.metrics["accuracy"] == pytest.approx((expected.argmax(axis=1) == samples.labels).mean())
    assert result.metrics["accuracy"] > 0.9
    assert result.correct is not None
    assert (result.sqnr_db, result.agreement_ratio) == (None, None)
    assert result.macs == 8 * 64 * 5 + 16 * 64 * 8 * 5 + 3 * 16


def test_a_variant_is_compared_with_the_baseline_and_kept(
    folder: Path, model: ModelFolder, context: EvaluationContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples, cache = evaluation_samples(model, folder / "samples"), PassCache(folder / "cache")
    reference = evaluate(baseline_variant(model), samples, None, context).outputs()
    calibration = calibration_samples(model, folder / "samples")
    variant = build_variants(model, [INT8], calibration, cache, lambda *_: None)[0]
    assert isinstance(variant, Variant)
    first = evaluate(variant, samples, reference, context)
    assert first.sqnr_db is not None
    assert first.sqnr_db > 20
    assert first.agreement_ratio is not None
    assert first.agreement_ratio >= 0.97
    assert first.fusion is not None
    assert first.fusion.quantised_ratio == 1.0
    assert first.wire_bytes <= first.disk_bytes

    def forbidden(*_: object) -> None:
        raise AssertionError("a kept evaluation must start no process")

    monkeypatch.setattr(running, "run_child", forbidden)
    monkeypatch.setattr(evaluation, "run_step", forbidden)
    assert evaluate(variant, samples, reference, context).metrics == first.metrics


def test_a_worker_that_refuses_says_why(folder: Path, model: ModelFolder, context: EvaluationContext) -> None:
    baseline = baseline_variant(model)
    wrong = baseline.pipeline.model_copy(
        update={"pre": baseline.pipeline.pre.model_copy(update={"input": TensorSpec(name="other", shape=(-1, 1, 64))})}
    )
    variant = Variant("odd", {}, (), "onnx", "onnxruntime", {}, baseline.model_file, wrong)
    with pytest.raises(UnusableModel, match=r"odd.*'other'"):
        evaluate(variant, evaluation_samples(model, folder / "samples"), None, context)


def test_regression_outputs_in_units() -> None:
    post = RegressionPost(scale=(2.0,), offset=(1.0,), output=TensorSpec(name="y", shape=(-1, 1)))
    assert in_units(np.array([[3.0], [4.0]], np.float32), post).tolist() == [[7.0], [9.0]]
