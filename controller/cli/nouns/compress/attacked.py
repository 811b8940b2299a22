"""`model compress --attack EPSILON`: how often variants are right about inputs that were changed so that they err."""

from collections.abc import Sequence
from typing import Any

from controller.compress.cache import PassCache
from controller.compress.robustness import robustness
from controller.compress.variant import FailedVariant, Variant
from controller.errors import ConversionFailed, UnusableModel
from controller.models.folder import ModelFolder
from controller.models.samples import evaluation_samples
from controller.workspace import Workspace


def attacked(
    variants: Sequence[Variant | FailedVariant], model: ModelFolder, workspace: Workspace, epsilon: float
) -> dict[str, dict[str, Any]]:
    """Return what became of each variant, by its name: counts, or an `error`.

    Raises:
        ConverterMissing: The environment `torch` is not installed.
    """
    samples, cache, found = evaluation_samples(model, workspace.datasets), PassCache(workspace.cache), {}
    for each in variants:
        if isinstance(each, FailedVariant):
            continue
        try:
            judged = robustness(each, samples, epsilon, cache)
        except (UnusableModel, ConversionFailed) as exc:
            found[each.name] = {"epsilon": epsilon, "error": str(exc)}
            continue
        found[each.name] = {"epsilon": epsilon, "of": judged.of, "right": dict(judged.right), "error": None}
    return found


def told(name: str, facts: dict[str, Any], baseline: dict[str, Any]) -> str:
    """Return a variant's robustness as people read it, against the baseline's where both are known."""
    if facts["error"]:
        return f"{name}: not attacked: {facts['error']}"
    parts = [f"{attack.upper()} {facts['right'][attack] / facts['of']:.1%}" for attack in ("fgsm", "pgd")]
    said = f"{name}: right in {', '.join(parts)} of {facts['of']} under attack (epsilon {facts['epsilon']:g})"
    if name == "baseline" or baseline.get("error", True):
        return said
    lost = [100 * (baseline["right"][each] - facts["right"][each]) / facts["of"] for each in ("fgsm", "pgd")]
    return f"{said}; {lost[0]:+.1f} and {lost[1]:+.1f} points lost against the baseline"
