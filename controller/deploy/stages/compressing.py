"""First stage: make every variant that the recipes ask for and that a device of the fleet has the engine for.

Files come from the cache where nothing has changed.
"""

from controller.compress.build import build_wanted
from controller.compress.variant import FailedVariant, Variant, baseline_variant
from controller.deploy.context import DeployContext
from controller.deploy.planning.expected import expected_variants, left_out_lines
from controller.deploy.progress import of_builds
from controller.errors import UnusableModel
from controller.models.samples import calibration_samples
from controller.store import deployments, tables


def run(context: DeployContext) -> None:
    """Make the baseline and the variants, and write a row for each; a recipe that fails leaves a row with the reason.

    Raises:
        UnusableModel: No recipe gave a variant.
    """
    settings = context.settings
    wanted, left_out = expected_variants(settings, context.service.devices(settings.fleet))
    context.progress.stage("compressing", len(wanted))
    for line in left_out_lines(left_out):
        context.progress.say(line)
    datasets = context.workspace.datasets
    calibration = calibration_samples(settings.model, datasets)
    told = of_builds(context.progress)
    results = build_wanted(settings.model, wanted, calibration, context.cache, told, datasets=datasets)
    variants = [baseline_variant(settings.model)] + [each for each in results if isinstance(each, Variant)]
    failed = [each for each in results if isinstance(each, FailedVariant)]
    _write(context, variants, failed)
    if len(variants) == 1:
        reasons = [f"{each.name}: {each.because}" for each in failed] + left_out_lines(left_out)
        said = "; ".join(reasons) or "no recipe applies to the model's formats"
        raise UnusableModel(f"no variant of {settings.model.identity} could be made: {said}")
    context.made.variants = variants


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
