"""Make the variants that recipes ask for: each pass in a process of its own, each result kept by content.

Decides: the key of a pass's result and what becomes of a pass that fails. Leaves out: what a pass does (`passes/`), in
which order (`recipe.py`), conversions to begin with (`passes/converted.py`), and whether the variant is any good
(`evaluate.py`).

    variants = build_variants(model, recipes, calibration, PassCache(workspace / "cache"), print)
"""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from controller.compress.cache import PassCache, cache_key
from controller.compress.materials.calibration import kept_calibration
from controller.compress.materials.training import kept_material
from controller.compress.passes import find_pass
from controller.compress.passes.base import Artifact, Capabilities, CompressionPass, PassContext
from controller.compress.passes.converted import PASS, Place, Start, start_of
from controller.compress.process.order import pass_order
from controller.compress.process.run import modules_digest
from controller.compress.process.start import LONGEST_RUN_S, LONGEST_TRAINING_S, PassFailed, run_step
from controller.compress.recipe import PassStep, Recipe
from controller.compress.variant import ENGINE_OF, FailedVariant, Variant, Wanted, recipe_document
from controller.convert.digest import model_digest
from controller.convert.environments import required
from controller.convert.operators import file_precision
from controller.errors import ConverterMissing, UnusableData, UnusableModel
from controller.models.folder import ModelFolder
from controller.models.queries import WHOLE_TENSORS
from controller.models.samples import LabelledData, training_samples

Progress = Callable[[str, str], None]
"""Called with a variant's name and what happened to it: `simplify`, `simplify (kept)`, `converting: …`, `done`,
`failed: …`."""

CONVERTING = "converting: "

EVERYTHING = Capabilities(frozenset(ENGINE_OF.values()), frozenset(ENGINE_OF))


@dataclass(frozen=True)
class BuildContext:
    """What all variants of one build share.

    calibration: per format, the `.npy` of model inputs and its digest. training: a folder of `kept_material` and its
    digest, or why there is none. starts: by format and precision, the conversions
    that recipes begin with, or why there is none.
    """

    model: ModelFolder
    cache: PassCache
    calibration: Mapping[str, tuple[Path, str]]
    progress: Progress
    starts: Mapping[tuple[str, str], Start | PassFailed]
    training: tuple[Path, str] | str = "no pass trains"
    seed: int = 0
    threads: int = 1


def build_variants(
    model: ModelFolder,
    recipes: Sequence[Recipe],
    calibration: NDArray[Any],
    cache: PassCache,
    progress: Progress,
    *,
    executor: Executor | None = None,
) -> list[Variant | FailedVariant]:
    """Make every variant that the recipes ask for, in the recipes' order, each for the first of its engines.

    As `build_wanted`; formats that the model does not have fail.
    """
    wanted = [Wanted(each, form, each.engines_of(form)[0]) for each in recipes for form in each.formats]
    return build_wanted(model, wanted, calibration, cache, progress, executor=executor)


def build_wanted(
    model: ModelFolder,
    wanted: Sequence[Wanted],
    calibration: NDArray[Any],
    cache: PassCache,
    progress: Progress,
    *,
    executor: Executor | None = None,
    datasets: Path | None = None,
    training: LabelledData | None = None,
) -> list[Variant | FailedVariant]:
    """Make variants, in their order.

    Args:
        model: Its files are the start of every recipe. It may get conversions.
        wanted: Of recipes with different names.
        calibration: Raw queries, shape (n, ...); may be empty where no recipe calibrates.
        cache: Where results are kept.
        progress: Told of every step; may be called from several threads.
        executor: Where variants are made side by side; by default as many threads as there are processors.
        datasets: Where loaded samples are kept, for conversions that have to be made; null: only kept ones are taken.
        training: What passes train on; null: the model's whole training part.
    Returns:
        A `Variant`, or a `FailedVariant` with its reason, for each that is wanted.
    """
    starts = _starts(model, wanted, cache, datasets, progress)  # first: a conversion may be a format's file from now on
    material = _material(model, wanted, cache, datasets, training)
    calibrated = kept_calibration(model, calibration, cache)
    context = BuildContext(model, cache, calibrated, progress, starts, material)
    pool = executor or ThreadPoolExecutor(max_workers=os.cpu_count() or 1)
    futures = [pool.submit(build_one, one, context) for one in wanted]
    try:
        return [future.result() for future in futures]
    finally:
        for future in futures:
            future.cancel()  # after an interrupt, what has not begun need not begin
        if executor is None:
            pool.shutdown()


def _starts(
    model: ModelFolder, wanted: Sequence[Wanted], cache: PassCache, datasets: Path | None, progress: Progress
) -> dict[tuple[str, str], Start | PassFailed]:
    """Return the conversions that are begun with; made one after the other, since a converter takes much memory."""
    starts: dict[tuple[str, str], Start | PassFailed] = {}
    for one in wanted:
        name, precision = one.name, one.recipe.conversion
        if precision is None or (one.format, precision) in starts:
            continue
        place = Place(cache, datasets, lambda said, name=name: progress(name, f"{CONVERTING}{said}"))  # type: ignore[misc]
        try:
            starts[one.format, precision] = start_of(model, one.format, precision, place)
        except PassFailed as exc:
            starts[one.format, precision] = exc
    return starts


def _material(
    model: ModelFolder,
    wanted: Sequence[Wanted],
    cache: PassCache,
    datasets: Path | None,
    training: LabelledData | None,
) -> tuple[Path, str] | str:
    """Return what passes train on, where some do, or why there is nothing."""
    trains = any(
        find_pass(step.name).needs.training for one in wanted for step in one.recipe.passes if step.name != PASS
    )
    if not trains or datasets is None:
        return "no samples are loaded here" if trains else "no pass trains"
    try:
        return kept_material(model, training or training_samples(model, datasets), cache)
    except (UnusableData, UnusableModel) as exc:
        return str(exc)


def build_one(wanted: Wanted, context: BuildContext) -> Variant | FailedVariant:
    """Make one variant."""
    recipe, form, name, started = wanted.recipe, wanted.format, wanted.name, time.monotonic()
    try:
        start = _begun(recipe, form, context)
        artifact, hits = _carry_out(name, recipe, start, context)
        pipeline = context.model.pipeline_of(form, start.entry, artifact.path, start.path)
    except PassFailed as exc:
        context.progress(name, f"failed: {exc.because}")
        return FailedVariant(name, recipe_document(recipe), form, exc.pass_name, exc.because, exc.log)
    except UnusableModel as exc:
        context.progress(name, f"failed: {exc}")
        return FailedVariant(name, recipe_document(recipe), form, "", str(exc))
    context.progress(name, "done")
    return Variant(
        name=name,
        recipe=recipe_document(recipe),
        lineage=tuple(_described(step) for step in recipe.passes),
        format=form,
        engine=wanted.engine,
        engine_options=recipe.options_of(wanted.engine),
        model_file=artifact.path,
        pipeline=pipeline,
        precision=artifact.precision,
        wall_s=time.monotonic() - started,
        cached=hits,
        notes=artifact.notes,
        model_root=context.model.root,
    )


def _begun(recipe: Recipe, form: str, context: BuildContext) -> Start:
    """Return what a recipe begins with.

    Raises:
        PassFailed: The conversion that it begins with cannot be had.
        UnusableModel: The model has no file of the format.
    """
    if recipe.conversion is None:
        path, entry = context.model.file(form), context.model.entry(form)
        return Start(form, path, entry, file_precision(form, path))
    start = context.starts[form, recipe.conversion]
    if isinstance(start, PassFailed):
        raise start
    return start


def _carry_out(name: str, recipe: Recipe, start: Start, context: BuildContext) -> tuple[Artifact, bool]:
    """Return the last artifact, and whether every pass was found in the cache."""
    artifact, all_kept = Artifact(start.form, start.path, start.precision, start.notes), True
    for step in recipe.passes:
        if step.name != PASS:
            artifact, kept = _pass_result(name, step, artifact, context)
            all_kept = all_kept and kept
    return artifact, all_kept


def _pass_result(name: str, step: PassStep, artifact: Artifact, context: BuildContext) -> tuple[Artifact, bool]:
    chosen = find_pass(step.name)
    if reason := chosen.applies(EVERYTHING, artifact):
        raise PassFailed(step.name, reason)
    if chosen.needs.calibration and (whole := _whole_numbers(context.model)):
        raise PassFailed(
            step.name, f"calibration runs models of one float input, and this one takes {whole}; use quantize_dynamic"
        )
    samples = _samples_of(chosen, artifact.format, context)
    digest = (samples[1] if samples else "") + (context.model.code_digest if chosen.needs.root else "")
    key = pass_key(chosen, step.parameters, artifact, digest, context.seed)
    entry = context.cache.get_or_make(key, lambda folder: _run_child(step, artifact, folder, samples, context))
    context.progress(name, f"{step.name} (kept)" if entry.hit else step.name)
    facts = entry.facts
    made = Artifact(facts["format"], entry.folder / facts["file"], facts["precision"], artifact.notes)
    return replace(made, notes=(*artifact.notes, *facts["notes"])), entry.hit


def _samples_of(chosen: CompressionPass, form: str, context: BuildContext) -> tuple[Path, str] | None:
    """Return the samples that a pass needs, and their digest.

    Raises:
        PassFailed: It trains and there is nothing to train on, or nothing here that trains.
    """
    needs = chosen.needs
    if not needs.training:
        return context.calibration.get(form) if needs.calibration else None
    if isinstance(context.training, str):
        raise PassFailed(chosen.name, f"{chosen.name} trains: {context.training}")
    try:
        required(str(needs.environment))
    except ConverterMissing as exc:
        raise PassFailed(chosen.name, f"{chosen.name} trains with PyTorch: {exc}") from exc
    return context.training


def _whole_numbers(model: ModelFolder) -> str:
    """Return what whole numbers a model takes; an empty word: none."""
    if model.takes_text:
        return "tokens"
    return "whole numbers" if model.pipeline(model.baseline_format).pre.input.dtype in WHOLE_TENSORS else ""


def pass_key(
    chosen: CompressionPass, parameters: Mapping[str, Any], artifact: Artifact, calibration_digest: str, seed: int
) -> str:
    """Return the key of a pass's result: everything that could change it."""
    return cache_key(
        {
            "pass": chosen.name,
            "source": _source_digest(chosen),
            "parameters": dict(parameters),
            "artifact": [artifact.format, artifact.precision, model_digest(artifact.format, artifact.path)],
            "calibration": calibration_digest,
            "libraries": {name: version(name) for name in chosen.needs.libraries},
            **({"environment": required(chosen.needs.environment).versions} if chosen.needs.environment else {}),
            "seed": seed,
        }
    )


def _run_child(
    step: PassStep, artifact: Artifact, folder: Path, samples: tuple[Path, str] | None, context: BuildContext
) -> dict[str, Any]:
    trains = find_pass(step.name).needs.training
    around = PassContext(
        folder, context.cache, seed=context.seed, threads=context.threads, root=context.model.root.absolute()
    )
    if samples and trains:
        around = replace(around, training=samples[0])
    elif samples:
        around = replace(around, calibration=samples[0], calibration_digest=samples[1])
    order = pass_order(step.name, step.parameters, artifact, around)
    return run_step(order, folder, step.name, LONGEST_TRAINING_S if trains else LONGEST_RUN_S)


def _source_digest(chosen: CompressionPass) -> str:
    """Return the digest of the pass's own source and of the modules that it names as part of it."""
    return modules_digest(type(chosen).__module__, *chosen.needs.sources)


def _described(step: PassStep) -> str:
    given = ", ".join(f"{key}={value}" for key, value in step.parameters.items() if value is not None)
    return f"{step.name}({given})"
