"""What `model compress` does: make variants and judge them on this host."""

from collections.abc import Sequence
from typing import Any

from controller.choose.intervals.evidence import Evidence, SquaredErrors
from controller.choose.intervals.loss import Claim, claim, output_bounds
from controller.cli.progress import make_progress
from controller.compress.build import build_wanted
from controller.compress.cache import PassCache
from controller.compress.evaluate import EvaluationContext, OfflineResult, evaluate
from controller.compress.recipe import Recipe
from controller.compress.variant import FailedVariant, Variant, baseline_variant, wanted_variants
from controller.deploy.progress import of_builds
from controller.errors import UnusableModel
from controller.models.folder import ModelFolder
from controller.models.samples import calibration_samples, evaluation_samples, golden_inputs
from controller.trial.figures import finite
from controller.workspace import Workspace

CONFIDENCE = 0.95
"""One-sided, of each bound on what a variant lost."""


def make_variants(
    model: ModelFolder,
    recipes: Sequence[Recipe],
    workspace: Workspace,
    *,
    evaluate: bool,
    aside: bool = False,
    epsilon: float | None = None,
) -> list[dict[str, Any]]:
    """Return the baseline and each variant as plain values; one that failed has an `error`.

    Args:
        model: Of which variants are made.
        recipes: What is made.
        workspace: Whose cache keeps the results.
        evaluate: Judge them on the evaluation samples too.
        aside: Progress goes to stderr.
        epsilon: Attack them too, within this distance in each value of the prepared input.
    Raises:
        UnusableModel: The model's samples cannot be used, or the baseline cannot be evaluated.
        ConverterMissing: Attacks need the environment `torch`.
    """
    wanted, _ = wanted_variants(recipes, model.formats)
    cache = PassCache(workspace.cache)
    with make_progress(aside=aside) as progress:
        progress.stage("compressing", len(wanted))
        calibration = calibration_samples(model, workspace.datasets)
        made = build_wanted(model, wanted, calibration, cache, of_builds(progress), datasets=workspace.datasets)
        variants = [baseline_variant(model), *made]
        progress.stage("screening", len(variants) if evaluate else 0)
        results = _judged(variants, model, workspace, cache, progress.advance) if evaluate else {}
    robust = _attacked(variants, model, workspace, epsilon)
    claims = _claims(results, model, variants[0].name)
    labels = ("normal", "anomalous") if model.kind == "anomaly" else model.labels
    rows = [
        {
            **_row(each, results.get(each.name), labels),
            **_against(claims.get(each.name)),
            "robustness": robust.get(each.name),
        }
        for each in variants
    ]
    return _with_outputs_losses(rows, results)


def _attacked(
    variants: Sequence[Variant | FailedVariant], model: ModelFolder, workspace: Workspace, epsilon: float | None
) -> dict[str, dict[str, Any]]:
    if epsilon is None:
        return {}
    from controller.cli.nouns.compress.attacked import attacked

    return attacked(variants, model, workspace, epsilon)


def _with_outputs_losses(rows: list[dict[str, Any]], results: dict[str, OfflineResult | str]) -> list[dict[str, Any]]:
    """Say of each output of a regression how much R2 it lost against the baseline, the first row, and at most."""
    baseline = results.get(rows[0]["variant"])
    for row in rows[1:]:
        result = results.get(row["variant"])
        pair = [each.evidence for each in (baseline, result) if isinstance(each, OfflineResult)]
        if len(pair) == 2 and isinstance(pair[0], SquaredErrors) and isinstance(pair[1], SquaredErrors):
            for own, bound in zip(row["per_class"], output_bounds(pair[0], pair[1], CONFIDENCE), strict=False):
                own |= {"lost": bound.lost, "lost_at_most": bound.upper} if bound else {}
    return rows


def _claims(results: dict[str, OfflineResult | str], model: ModelFolder, baseline: str) -> dict[str, Claim]:
    """Return what may be said of each variant's score against the baseline's, on the same samples."""
    known: dict[str, Evidence] = {
        name: result.evidence for name, result in results.items() if isinstance(result, OfflineResult)
    }
    control = known.pop(baseline, None)
    return (
        {} if control is None else {name: claim(model.kind, control, each, CONFIDENCE) for name, each in known.items()}
    )


def _against(said: Claim | None) -> dict[str, Any]:
    bound = said.bound if said else None
    return {
        "against_baseline": said.text if said else None,
        "lost": bound.lost if bound else None,
        "lost_at_most": bound.upper if bound else None,
        "smallest_visible": finite(said.smallest) if said else None,
    }


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


def _named_rows(result: OfflineResult, labels: Sequence[str]) -> list[dict[str, Any]]:
    """Return the metrics of each class, sort or output, by its name; by its number where it has none."""
    return [
        {"name": labels[number] if number < len(labels) else str(number), **{key: finite(row[key]) for key in row}}
        for number, row in enumerate(result.per_class)
    ]


def _row(each: Variant | FailedVariant, result: OfflineResult | str | None, labels: Sequence[str]) -> dict[str, Any]:
    judged = result if isinstance(result, OfflineResult) else None
    failed = each.because if isinstance(each, FailedVariant) else (result if isinstance(result, str) else None)
    return {
        "variant": each.name,
        "format": each.format,
        "engine": each.engine if isinstance(each, Variant) else None,
        "file": str(each.model_file) if isinstance(each, Variant) else None,
        "lineage": list(each.lineage) if isinstance(each, Variant) else [],
        "error": failed,
        "score_name": judged.score_name if judged else None,
        "score": judged.accuracy if judged else None,
        "metrics": {name: finite(value) for name, value in judged.metrics.items()} if judged else {},
        "per_class": _named_rows(judged, labels) if judged else [],
        "samples": judged.samples if judged else None,
        "sqnr_db": judged.sqnr_db if judged else None,
        "parameters": judged.parameters if judged else None,
        "macs": judged.macs if judged else None,
        "disk_bytes": each.disk_bytes if isinstance(each, Variant) else None,
        "wire_bytes": judged.wire_bytes if judged else None,
    }
