"""What `model compress` does: make variants and judge them on this host."""

from collections.abc import Sequence
from typing import Any

from controller.cli.progress import make_progress
from controller.compress.build import CONVERTING, build_wanted
from controller.compress.cache import PassCache
from controller.compress.evaluate import EvaluationContext, OfflineResult, evaluate
from controller.compress.recipe import Recipe
from controller.compress.variant import FailedVariant, Variant, baseline_variant, wanted_variants
from controller.errors import UnusableModel
from controller.models.folder import ModelFolder
from controller.models.samples import calibration_samples, evaluation_samples, golden_inputs
from controller.workspace import Workspace


def make_variants(
    model: ModelFolder, recipes: Sequence[Recipe], workspace: Workspace, *, evaluate: bool, aside: bool = False
) -> list[dict[str, Any]]:
    """Return the baseline and each variant as plain values; one that failed has an `error`.

    Args:
        model: Of which variants are made.
        recipes: What is made.
        workspace: Whose cache keeps the results.
        evaluate: Judge them on the evaluation samples too.
        aside: Progress goes to stderr.
    Raises:
        UnusableModel: The model's samples cannot be used, or the baseline cannot be evaluated.
    """
    wanted, _ = wanted_variants(recipes, model.formats)
    cache = PassCache(workspace.cache)
    with make_progress(aside=aside) as progress:
        progress.stage("compressing", len(wanted))

        def told(variant: str, what: str) -> None:
            if what == "done" or what.startswith("failed"):
                progress.advance(f"{variant} {what}")
            elif what.startswith(CONVERTING):
                progress.say(f"{variant}: {what}")

        calibration = calibration_samples(model, workspace.datasets)
        made = build_wanted(model, wanted, calibration, cache, told, datasets=workspace.datasets)
        variants = [baseline_variant(model), *made]
        progress.stage("screening", len(variants) if evaluate else 0)
        results = _judged(variants, model, workspace, cache, progress.advance) if evaluate else {}
    return [_row(each, results.get(each.name)) for each in variants]


def _judged(
    variants: Sequence[Variant | FailedVariant], model: ModelFolder, workspace: Workspace, cache: PassCache, tell: Any
) -> dict[str, OfflineResult | str]:
    samples = evaluation_samples(model, workspace.datasets)
    context = EvaluationContext(cache, golden_inputs(model, workspace.datasets))
    results: dict[str, OfflineResult | str] = {}
    outputs = None
    for each in variants:
        if isinstance(each, FailedVariant):
            continue
        try:
            result = evaluate(each, samples, outputs, context)
        except UnusableModel as exc:
            if outputs is None:
                raise
            results[each.name] = str(exc)
            continue
        outputs = result.outputs() if outputs is None else outputs
        results[each.name] = result
        tell(f"{each.name}: {result.accuracy:.4f}")
    return results


def _row(each: Variant | FailedVariant, result: OfflineResult | str | None) -> dict[str, Any]:
    judged = result if isinstance(result, OfflineResult) else None
    failed = each.because if isinstance(each, FailedVariant) else (result if isinstance(result, str) else None)
    return {
        "variant": each.name,
        "format": each.format,
        "engine": each.engine if isinstance(each, Variant) else None,
        "file": str(each.model_file) if isinstance(each, Variant) else None,
        "lineage": list(each.lineage) if isinstance(each, Variant) else [],
        "error": failed,
        "score": judged.accuracy if judged else None,
        "metrics": dict(judged.metrics) if judged else {},
        "samples": judged.samples if judged else None,
        "sqnr_db": judged.sqnr_db if judged else None,
        "parameters": judged.parameters if judged else None,
        "macs": judged.macs if judged else None,
        "disk_bytes": each.disk_bytes if isinstance(each, Variant) else None,
        "wire_bytes": judged.wire_bytes if judged else None,
    }
