"""First stage: make every variant that the recipes ask for. Files come from the cache where nothing has changed."""

from typing import Any

from controller.compress.build import build_variants
from controller.compress.variant import FailedVariant, Variant, baseline_variant
from controller.deploy.context import DeployContext
from controller.errors import UnusableModel
from controller.models.samples import calibration_samples
from controller.store import deployments, tables


def run(context: DeployContext) -> None:
    """Make the baseline and the variants, and write a row for each; a recipe that fails leaves a row with the reason.

    Raises:
        UnusableModel: No recipe gave a variant.
    """
    settings = context.settings
    wanted = sum(len(_forms(recipe.formats, settings.model.formats)) for recipe in settings.recipes)
    context.progress.stage("compressing", wanted)
    calibration = calibration_samples(settings.model, context.workspace.datasets)
    recipes = [recipe for recipe in settings.recipes if _forms(recipe.formats, settings.model.formats)]
    results = build_variants(settings.model, recipes, calibration, context.cache, _told(context))
    variants = [baseline_variant(settings.model)] + [each for each in results if isinstance(each, Variant)]
    failed = [each for each in results if isinstance(each, FailedVariant)]
    _write(context, variants, failed)
    if len(variants) == 1:
        reasons = (
            "; ".join(f"{each.name}: {each.because}" for each in failed) or "no recipe applies to the model's formats"
        )
        raise UnusableModel(f"no variant of {settings.model.identity} could be made: {reasons}")
    context.made.variants = variants


def _forms(asked: tuple[Any, ...], present: Any) -> list[str]:
    """Return the formats of a recipe that the model has: a recipe for another format says nothing about this model."""
    return [form for form in asked if form in present]


def _told(context: DeployContext) -> Any:
    def progress(variant: str, what: str) -> None:
        if what == "done" or what.startswith("failed"):
            context.progress.advance(variant if what == "done" else f"{variant} {what}")

    return progress


def _write(context: DeployContext, variants: list[Variant], failed: list[FailedVariant]) -> None:
    known = {"deployment": context.deployment, "bundle": None, "offline": None, "screen": None}
    rows = [
        tables.Variant(
            **known,
            variant=each.name,
            format=each.format,
            engine=each.engine,
            control=index == 0,
            recipe=dict(each.recipe),
            error=None,
        )
        for index, each in enumerate(variants)
    ]
    rows += [
        tables.Variant(
            **known, variant=each.name, format=each.format, engine="", recipe=dict(each.recipe), error=each.because
        )
        for each in failed
    ]
    with context.store.begin() as session:
        deployments.set_variants(session, rows)
