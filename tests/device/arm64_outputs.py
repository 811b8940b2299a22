"""What the emulated device is given to answer, and whether it answers as this host does.

    python -m tests.device.arm64_outputs pack FOLDER        bundles with this host's answers, and orders for the device
    python -m tests.device.arm64_outputs compare FOLDER     after the device has carried the orders out

Decides: that the golden outputs of every bundle pass there, with the same top-1 for each input. Leaves out: carrying
orders out (`arm64.sh`), and time: an emulator's is worth nothing.
"""

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from agent.measure.orders import Result, SelftestOrder
from controller.bundle.artifacts import ArtifactStore
from controller.bundle.pack import pack_bundle
from controller.compress.build import build_variants
from controller.compress.cache import PassCache
from controller.compress.process.run import EvaluationContext, run_variant
from controller.compress.shipped import find_recipes
from controller.compress.variant import FailedVariant, Variant, baseline_variant
from controller.models.folder import ModelFolder
from controller.models.samples import calibration_samples, golden_inputs

MODEL = Path(__file__).resolve().parents[2] / "models" / "leaf_outline"
RECIPES = ("int8-u8s8-percentile", "tflite-float", "tflite-int8-static")
"""With the baseline (float32 for ONNX Runtime): float and static int8 for both engines."""

SEEN_BY_DEVICE = PurePosixPath("/exchange/selftest")
"""Where the device finds the folder."""


def main(arguments: Sequence[str]) -> int:
    """Pack or compare; return the exit code."""
    what, folder = arguments
    return pack(Path(folder)) if what == "pack" else compare(Path(folder))


def pack(folder: Path) -> int:
    """Write a bundle and an order for each variant. Earlier ones go; compressed models stay."""
    for name in ("bundles", "orders", "results"):
        shutil.rmtree(folder / name, ignore_errors=True)
        (folder / name).mkdir(parents=True)
    model = ModelFolder.load(MODEL)
    inputs = golden_inputs(model, folder / "kept" / "datasets")
    context = EvaluationContext(PassCache(folder / "kept" / "cache"), inputs[:0])
    store = ArtifactStore(folder / "bundles")
    for variant in _variants(model, context.cache, folder / "kept" / "datasets"):
        outputs = np.load(run_variant(variant, inputs, context))
        bundle = pack_bundle(variant, model, inputs, outputs, evaluation_digest=None, store=store)
        order = SelftestOrder(
            bundle_dir=Path(SEEN_BY_DEVICE / "bundles" / bundle.digest),
            result_path=Path(SEEN_BY_DEVICE / "results" / f"{variant.name}.json"),
            cache_dir=Path("/var/lib/thresher/cache"),
        )
        (folder / "orders" / f"{variant.name}.json").write_text(order.model_dump_json(exclude_none=True))
    return 0


def compare(folder: Path) -> int:
    """Print a line for each variant; return 1 where one of them answers otherwise than here."""
    names = sorted(path.stem for path in (folder / "orders").glob("*.json"))
    verdicts = [_judged(folder / "results" / f"{name}.json", name) for name in names]
    return 0 if len(names) == len(RECIPES) + 1 and all(verdicts) else 1


def _variants(model: ModelFolder, cache: PassCache, datasets: Path) -> list[Variant]:
    made = build_variants(model, find_recipes(RECIPES), calibration_samples(model, datasets), cache, lambda *_: None)
    failed = [each for each in made if isinstance(each, FailedVariant)]
    if failed:
        sys.exit("; ".join(f"{each.name} could not be made here: {each.because}" for each in failed))
    return [baseline_variant(model), *(each for each in made if isinstance(each, Variant))]


def _judged(path: Path, name: str) -> bool:
    result = Result.model_validate_json(path.read_bytes())
    golden = result.golden
    if golden is None:
        print(f"| {name}: {result.outcome}, no answers: {result.error.detail if result.error else 'no reason given'}")
        return False
    agreement = golden.top1_agreement_ratio or 0.0
    print(
        f"| {name} ({result.engine} {result.engine_version}): {golden.detail}; same top-1 for "
        f"{round(agreement * golden.samples)} of {golden.samples}, largest difference {golden.max_abs_difference:.2g}"
    )
    return golden.passed and agreement == 1.0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
