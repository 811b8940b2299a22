"""What compression is asked for, and what it yields: a variant that can be run, or the reason why there is none.

Decides: which variants recipes mean, by format and engine, and which of them no device could run. Leaves out: making
them (`build.py`).
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from controller.compress.engine_options import ENGINE_OF, ENGINES_OF
from controller.compress.recipe import Recipe
from controller.convert.onnx_io import external_files
from controller.convert.operators import file_precision
from controller.errors import UnusableModel
from controller.models.folder import ModelFolder
from wire.spec import Pipeline

BASELINE = "baseline"

__all__ = [
    "BASELINE", "ENGINES_OF", "ENGINE_OF", "FailedVariant", "Variant", "Wanted", "baseline_variant", "recipe_document",
    "wanted_variants",
]  # fmt: skip


@dataclass(frozen=True)
class Wanted:
    """A variant that a recipe asks for: in which format, for which engine."""

    recipe: Recipe
    format: str
    engine: str

    @property
    def name(self) -> str:
        """The recipe's name for the format; `@ENGINE` behind it where it is for another engine than the first."""
        plain = self.recipe.variant_name(self.format)
        return plain if self.engine == self.recipe.engines_of(self.format)[0] else f"{plain}@{self.engine}"


@dataclass(frozen=True)
class Variant:
    """One file that does the model's work.

    name: unique in a deploy. recipe: as validated, empty for the baseline. lineage: passes with their parameters, in
    order. precision: `float32`, `float16`, `int8`, `int8-dynamic`, `int8-weights` or
    `int4-weights`. cached: no pass had to run.
    model_root: the model's folder, for files that the pipeline names; null where it names none.
    """

    name: str
    recipe: Mapping[str, Any]
    lineage: tuple[str, ...]
    format: str
    engine: str
    engine_options: Mapping[str, Any]
    model_file: Path
    pipeline: Pipeline
    precision: str = "float32"
    wall_s: float = 0.0
    cached: bool = False
    notes: tuple[str, ...] = field(default=())
    model_root: Path | None = None

    @property
    def disk_bytes(self) -> int:
        return self.model_file.stat().st_size


@dataclass(frozen=True)
class FailedVariant:
    """A recipe that gave no variant.

    `because` is for people, `pass_name` the pass that failed, `log` its last lines.
    """

    name: str
    recipe: Mapping[str, Any]
    format: str
    pass_name: str
    because: str
    log: str = ""


def baseline_variant(model: ModelFolder) -> Variant:
    """Return the uncompressed model as it lies in its folder: what every variant is compared with.

    Raises:
        UnusableModel: Its weights lie in further files, which an import takes in.
    """
    form = model.baseline_format
    path = model.file(form)
    if form == "onnx" and (files := external_files(path)):
        raise UnusableModel(
            f"{path}: weights lie in {', '.join(file.name for file in files)} beside it, and a bundle has one file for "
            f"the model; take them in: controller model import {model.root}"
        )
    return Variant(
        name=BASELINE,
        recipe={},
        lineage=(),
        format=form,
        engine=ENGINE_OF[form],
        engine_options={},
        model_file=path,
        pipeline=model.pipeline(form),
        precision=file_precision(form, path),
        model_root=model.root,
    )


def recipe_document(recipe: Recipe) -> dict[str, Any]:
    """Return a recipe as plain JSON, unset passes left out, as it stands in a bundle's manifest."""
    return recipe.model_dump(mode="json", exclude_none=True)


def wanted_variants(
    recipes: Sequence[Recipe], formats: Collection[str], engines: Collection[str] | None = None
) -> tuple[tuple[Wanted, ...], dict[str, str]]:
    """Return the variants that recipes mean, and those that no device could run, each with the reason.

    A recipe for a format that the model does not have says nothing about this model, unless one converts to it.

    Args:
        recipes: In their order.
        formats: Those that the model has.
        engines: Those that devices have: each gives a variant of its own of the same file. Null: nothing is known of
            devices, and each recipe gives one variant, for the first of its engines.
    """
    converted = {form for recipe in recipes if recipe.conversion == "float" for form in recipe.formats}
    wanted: list[Wanted] = []
    left_out: dict[str, str] = {}
    for recipe in recipes:
        for form in recipe.formats:
            if form not in formats and form not in converted and recipe.conversion is None:
                continue
            known = recipe.engines_of(form)
            running = [each for each in known if each in engines] if engines is not None else known[:1]
            wanted += [Wanted(recipe, form, engine) for engine in running]
            if not running:
                left_out[recipe.variant_name(form)] = f"no device has the engine {' or '.join(known)}"
    return tuple(wanted), left_out
