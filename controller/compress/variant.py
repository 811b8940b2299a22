"""What compression yields: a variant that can be run, or the reason why there is none."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from controller.compress.recipe import Recipe
from controller.convert.onnx_io import external_files
from controller.convert.operators import file_precision
from controller.errors import UnusableModel
from controller.models.folder import ModelFolder
from wire.spec import Pipeline

BASELINE = "baseline"
ENGINES_OF = {"onnx": ("onnxruntime",), "tflite": ("litert", "tflite-runtime"), "executorch": ("executorch",)}
"""The engines that run a format on devices; a recipe that names none means the first."""
ENGINE_OF = {form: engines[0] for form, engines in ENGINES_OF.items()}


@dataclass(frozen=True)
class Variant:
    """One file that does the model's work.

    name: unique in a deploy. recipe: as validated, empty for the baseline. lineage: passes with their parameters, in
    order. precision: `float32`, `float16`, `int8`, `int8-dynamic` or `int8-weights`. cached: no pass had to run.
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
