"""Recipes: the ordered passes that make a variant, as validated data.

Decides: which recipes make sense. Leaves out: what a pass does (`passes/`) and where recipes lie (`shipped.py`). Pure.

>>> Recipe.model_validate({"version": 1, "name": "float32", "formats": ["onnx"], "passes": [{"simplify":
{}}]}).pass_names ('simplify',)
"""

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from controller.compress.engine_options import ENGINES_OF, RUNS, EngineName, EngineOptions
from controller.compress.passes.students.parameters import Derive, Student
from controller.compress.passes.training.parameters import (
    AdversarialTrain,
    Distill,
    FineTune,
    GradualPrune,
    QuantizeAware,
)
from controller.compress.passes.weights.parameters import Codebook, Equalise, LowRank, Prune, PruneChannels
from wire.base import Name
from wire.manifest import Format

Scheme = Literal["u8s8", "s8s8", "u8u8"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Converted(_Strict):
    """Begin with the conversion that the model's folder keeps, or make it of the model's torch, Keras or ONNX source.

    `precision`: of the converted file. `float` is the model's own file of the format, where it has one.
    """

    precision: Literal["float", "fp16", "int8"]


class Simplify(_Strict):
    """Fold constants and remove what computes nothing."""


class Float16(_Strict):
    """Store and compute in half precision. `keep_io_types`: inputs and outputs stay float32."""

    keep_io_types: bool = True


class QuantizeStatic(_Strict):
    """Static int8 (QDQ). `scheme`: activations, then weights, u8 or s8. `percentile` belongs to its calibration only.

    `samples`: calibration samples at most. `reduce_range`: weights of 7 bits, exact on processors without VNNI.
    `least_sqnr_db`: mixed precision: the operators that lose most stay float until the outputs reach it [dB].
    `rounding`: weights to the nearest level, or each up or down so that the outputs change least (AdaRound).
    `bias_correction`: take back what rounding shifts each operator's mean output by.
    """

    scheme: Scheme = "u8s8"
    calibration: Literal["minmax", "moving_average", "percentile", "entropy", "mse"] = "minmax"
    percentile: float | None = Field(default=None, gt=50, le=100)
    per_channel: bool = True
    reduce_range: bool = False
    least_sqnr_db: float | None = Field(default=None, gt=0, le=120)
    rounding: Literal["nearest", "adaptive"] = "nearest"
    bias_correction: bool = False
    samples: int = Field(default=128, ge=1, le=100_000)

    @model_validator(mode="after")
    def _percentile_needs_its_calibration(self) -> Self:
        if self.percentile is not None and self.calibration != "percentile":
            raise ValueError(f"percentile is given, calibration is {self.calibration!r}: set calibration: percentile")
        return self


class QuantizeDynamic(_Strict):
    """Dynamic int8: weights stored in 8 bits, activations quantised while running."""

    weights: Literal["s8", "u8"] = "s8"
    per_channel: bool = False


class QuantizeWeights(_Strict):
    """Weights of matrix products in blocks of 4 bits, each with a scale; computed in float or as the engine can.

    `block`: weights of one scale. `symmetric`: without a zero point.
    """

    block: Literal[16, 32, 64, 128, 256] = 32
    symmetric: bool = True


class TfliteFloat(_Strict):
    """The model's own float TFLite file, as it is."""


class TfliteQuantize(_Strict):
    """Quantise the float TFLite file. `calibration` and `samples` matter to `static` only."""

    mode: Literal["static", "dynamic", "weight_only"]
    calibration: Literal["minmax", "moving_average"] = "minmax"
    samples: int = Field(default=128, ge=1, le=100_000)

    @model_validator(mode="after")
    def _calibration_is_for_static(self) -> Self:
        if self.mode != "static" and self.model_fields_set & {"calibration", "samples"}:
            raise ValueError(f"calibration and samples are given, mode {self.mode} does not calibrate: leave them out")
        return self


class PassStep(_Strict):
    """One pass with its parameters: a mapping of exactly one name."""

    converted: Converted | None = None
    simplify: Simplify | None = None
    derive: Derive | None = None
    student: Student | None = None
    equalise: Equalise | None = None
    prune: Prune | None = None
    prune_channels: PruneChannels | None = None
    low_rank: LowRank | None = None
    fine_tune: FineTune | None = None
    distill: Distill | None = None
    gradual_prune: GradualPrune | None = None
    adversarial_train: AdversarialTrain | None = None
    codebook: Codebook | None = None
    float16: Float16 | None = None
    quantize_static: QuantizeStatic | None = None
    quantize_aware: QuantizeAware | None = None
    quantize_dynamic: QuantizeDynamic | None = None
    quantize_weights: QuantizeWeights | None = None
    tflite_float: TfliteFloat | None = None
    tflite_quantize: TfliteQuantize | None = None

    model_config = ConfigDict(extra="forbid", frozen=True, json_schema_extra={"minProperties": 1, "maxProperties": 1})

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if len(self._given()) != 1:
            raise ValueError(
                f"a step names exactly one pass, this one {len(self._given())}: {', '.join(self._given())}"
            )
        return self

    @property
    def name(self) -> str:
        return self._given()[0]

    @property
    def parameters(self) -> dict[str, Any]:
        """The pass's parameters, defaults included."""
        part: BaseModel = getattr(self, self.name)
        return part.model_dump(mode="json")

    def _given(self) -> list[str]:
        return [name for name in type(self).model_fields if getattr(self, name) is not None]


_TRAINS = ("fine_tune", "distill", "gradual_prune", "adversarial_train")
_TAKES: dict[str, tuple[Format, ...]] = {
    "converted": tuple(ENGINES_OF),
    "simplify": ("onnx",),
    **dict.fromkeys(("derive", "student", "equalise", "prune", "prune_channels", "low_rank", "codebook"), ("onnx",)),
    **dict.fromkeys((*_TRAINS, "quantize_aware"), ("onnx",)),
    "float16": ("onnx",),
    "quantize_static": ("onnx",),
    "quantize_dynamic": ("onnx",),
    "quantize_weights": ("onnx",),
    "tflite_float": ("tflite",),
    "tflite_quantize": ("tflite",),
}
_MAY_REPEAT = frozenset({*_TRAINS, "prune", "prune_channels"})
"""Pruning and training in turns takes more than at once."""
_FOLLOWS = {"quantize_aware": "quantize_static"}
_CHANGES_PRECISION = frozenset(
    {"codebook", "float16", "quantize_static", "quantize_dynamic", "quantize_weights", "tflite_quantize"}
)


class Recipe(_Strict):
    """Ordered passes and the formats that they apply to. `engine`: that one alone, of those that run the format.

    `in_all`: whether `recipes: [all]` takes a shipped recipe.
    """

    version: Literal[1]
    name: Name
    note: str = Field(default="", max_length=500)
    formats: tuple[Format, ...] = Field(min_length=1)
    passes: tuple[PassStep, ...] = Field(min_length=1, max_length=32)
    engine: EngineName | None = None
    in_all: bool = True
    engine_options: EngineOptions = EngineOptions()

    @model_validator(mode="after")
    def _passes_agree(self) -> Self:
        if len(set(self.formats)) != len(self.formats):
            raise ValueError("formats: a format stands twice")
        for name in self.pass_names:
            wrong = [form for form in self.formats if form not in _TAKES[name]]
            if wrong:
                raise ValueError(
                    f"passes: {name} takes {', '.join(_TAKES[name])} files, formats says {', '.join(wrong)}"
                )
        if "converted" in self.pass_names[1:]:
            raise ValueError("passes: converted begins with another file, so that it must be the first pass")
        changing = [step.name for step in self.passes if _sets_precision(step)]
        if len(changing) > 1:
            raise ValueError(f"passes: {' and '.join(changing)} contradict each other: one pass sets the precision")
        last = self.pass_names[-1]
        if changing and last != changing[0] and _FOLLOWS.get(last) != changing[0]:
            raise ValueError(f"passes: {last} comes after {changing[0]}, which must be the last pass")
        once = [name for name in self.pass_names if name not in _MAY_REPEAT]
        if len(set(once)) != len(once):
            raise ValueError("passes: a pass stands twice")
        return self

    @model_validator(mode="after")
    def _followers_follow(self) -> Self:
        for before, name in zip(("nothing", *self.pass_names), self.pass_names, strict=False):
            if name in _FOLLOWS and before != _FOLLOWS[name]:
                raise ValueError(f"passes: {name} comes right after {_FOLLOWS[name]}, and here after {before}")
        return self

    @model_validator(mode="after")
    def _options_have_an_engine(self) -> Self:
        for engine in self.engine_options.engines:
            if RUNS[engine] not in self.formats:
                raise ValueError(f"engine_options: {engine} runs {RUNS[engine]}, which is not among formats")
            if self.engine not in (None, engine):
                raise ValueError(f"engine_options: {engine} is not the engine of this recipe, which is {self.engine}")
        return self

    @model_validator(mode="after")
    def _engine_runs_the_formats(self) -> Self:
        wrong = [form for form in self.formats if self.engine is not None and RUNS[self.engine] != form]
        if self.engine is not None and wrong:
            raise ValueError(f"engine: {self.engine} runs {RUNS[self.engine]}, formats says {', '.join(wrong)}")
        return self

    @property
    def pass_names(self) -> tuple[str, ...]:
        return tuple(step.name for step in self.passes)

    @property
    def conversion(self) -> str | None:
        """The precision of the conversion that it begins with; null: it begins with the model's own file."""
        return self.passes[0].converted.precision if self.passes[0].converted else None

    def engines_of(self, form: str) -> tuple[str, ...]:
        """Return the engines that its variants in a format are for: that of the recipe, or those that its options are
        for (with others it would be its plain twin), or all that run the format."""
        running = tuple(engine for engine, runs in RUNS.items() if runs == form)
        if self.engine is not None:
            return (self.engine,)
        return tuple(engine for engine in running if engine in self.engine_options.engines) or running

    def options_of(self, engine: str) -> dict[str, Any]:
        """Return the settings given for one engine."""
        return self.engine_options.of(engine)

    def variant_name(self, form: str) -> str:
        """Return the name of this recipe's variant in a format: the recipe's name, with the format before it."""
        return self.name if self.name.split("-")[0] == form else f"{form}-{self.name}"


def _sets_precision(step: PassStep) -> bool:
    converts = step.converted is not None and step.converted.precision != "float"
    return converts or step.name in _CHANGES_PRECISION


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of a recipe file, for editors."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Recipe.model_json_schema()}
