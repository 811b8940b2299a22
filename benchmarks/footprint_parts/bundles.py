"""Bundles of the reference model `leaf_outline` in static int8, one for each engine: what a device really runs."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import repository
from controller.bundle.artifacts import ArtifactStore
from controller.bundle.pack import pack_bundle
from controller.compress.build import build_variants
from controller.compress.cache import PassCache
from controller.compress.process.run import EvaluationContext, run_variant
from controller.compress.shipped import find_recipes
from controller.compress.variant import Variant
from controller.models.folder import ModelFolder
from controller.models.samples import calibration_samples, golden_inputs
from tests.e2e.lone_controller import Packed, pack
from wire.manifest import BundleManifest

RECIPES = {"onnxruntime": "int8-u8s8-minmax", "litert": "tflite-int8-static"}
CALIBRATION_SAMPLES = 128
GOLDEN_SAMPLES = 8
CHUNK_BYTES = 64 * 1024


@dataclass(frozen=True)
class Int8Bundle:
    """A bundle as a folder, as what a controller sends, and the size of its model's file [bytes]."""

    engine: str
    folder: Path
    packed: Packed
    model_bytes: int


def int8_bundles(folder: Path) -> Mapping[str, Int8Bundle]:
    """Make the bundles below `folder`; engine -> bundle.

    Raises:
        AssertionError: A recipe failed.
    """
    model = ModelFolder.load(repository() / "models" / "leaf_outline")
    samples = calibration_samples(model, folder / "datasets", CALIBRATION_SAMPLES)
    cache, recipes = PassCache(folder / "passes"), find_recipes(RECIPES.values())
    golden = golden_inputs(model, folder / "datasets", GOLDEN_SAMPLES)
    context = EvaluationContext(cache, golden, kernel_cache=folder / "kernels")
    store, made = ArtifactStore(folder / "artifacts"), {}
    for variant in build_variants(model, recipes, samples, cache, lambda *_: None):
        assert isinstance(variant, Variant), f"{variant.name} failed: {variant.because}"
        outputs = np.load(run_variant(variant, golden, context), allow_pickle=False)
        artifact = pack_bundle(variant, model, golden, outputs, evaluation_digest=None, store=store)
        made[variant.engine] = _bundle(variant, artifact.manifest, store.folder(artifact.digest))
    return made


def _bundle(variant: Variant, manifest: Any, folder: Path) -> Int8Bundle:
    assert isinstance(manifest, BundleManifest)
    contents = [(folder / each.path).read_bytes() for each in manifest.files]
    packed = pack(manifest, contents, CHUNK_BYTES)
    return Int8Bundle(variant.engine, folder, packed, variant.model_file.stat().st_size)
