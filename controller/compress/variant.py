"""What compression yields: a variant that can be run, or the reason why there is none."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from controller.compress.recipe import Recipe
from controller.models.folder import ModelFolder
from wire.spec import Pipeline

BASELINE = "baseline"
ENGINE_OF = {"onnx": "onnxruntime", "tflite": "litert"}
"""The engine that runs a format on the devices of this release."""


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
    """Return the uncompressed model as it lies in its folder: what every variant is compared with."""
    form = model.baseline_format
    return Variant(
        name=BASELINE,
        recipe={},
        lineage=(),
        format=form,
        engine=ENGINE_OF[form],
        engine_options={},
        model_file=model.file(form),
        pipeline=model.pipeline(form),
        model_root=model.root,
    )


def recipe_document(recipe: Recipe) -> dict[str, Any]:
    """Return a recipe as plain JSON, unset passes left out, as it stands in a bundle's manifest."""
    return recipe.model_dump(mode="json", exclude_none=True)
