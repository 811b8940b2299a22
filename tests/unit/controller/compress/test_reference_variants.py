"""The committed reference model through both engines: what is quantised still says what the float model says."""

from pathlib import Path

import numpy as np
import pytest

from controller.compress.build import build_variants
from controller.compress.cache import PassCache
from controller.compress.metrics import sqnr_db, top1_agreement_ratio
from controller.compress.process.run import EvaluationContext, run_variant
from controller.compress.shipped import find_recipes
from controller.compress.variant import Variant, baseline_variant
from controller.models.folder import ModelFolder
from controller.models.samples import golden_inputs
from tests.unit.controller.compress.small_models import sums_are_exact

COMMITTED = Path(__file__).parents[4] / "models" / "leaf_outline"
LEAST_SQNR_DB = {
    "onnx-int8-u8s8-minmax": 15.0 if sums_are_exact() else 10.0,
    "tflite-float": 90.0,
    "tflite-int8-static": 12.0,
}
LEAST_AGREEMENT = {"onnx-int8-u8s8-minmax": 0.9 if sums_are_exact() else 0.7}
"""Of synthetic outlines, many of which lie between two classes."""


@pytest.fixture(scope="module")
def model() -> ModelFolder:
    return ModelFolder.load(COMMITTED)


@pytest.mark.long
def test_synthetic_outlines_keep_their_class(model: ModelFolder, tmp_path: Path) -> None:
    calibration = golden_inputs(model, tmp_path, count=64)
    context = EvaluationContext(PassCache(tmp_path / "cache"), calibration[:0])
    recipes = find_recipes(["int8-u8s8-minmax", "tflite-float", "tflite-int8-static"])
    reference = outputs(baseline_variant(model), calibration[:24], context)
    for variant in build_variants(model, recipes, calibration, context.cache, lambda *_: None):
        assert isinstance(variant, Variant), variant
        found = outputs(variant, calibration[:24], context)
        noise = sqnr_db(reference, found)
        assert noise is not None
        assert noise >= LEAST_SQNR_DB[variant.name]
        assert top1_agreement_ratio(reference, found) >= LEAST_AGREEMENT.get(variant.name, 0.9)


def outputs(variant: Variant, inputs: np.ndarray, context: EvaluationContext) -> np.ndarray:
    found: np.ndarray = np.load(run_variant(variant, inputs, context))
    return found
