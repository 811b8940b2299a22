"""Recipes: the ordered passes that make a variant, as validated data.

Decides: which recipes make sense. Leaves out: what a pass does (`passes/`) and where recipes lie (`shipped.py`). Pure.

>>> Recipe.model_validate({"version": 1, "name": "float32", "formats": ["onnx"], "passes": [{"simplify":
{}}]}).pass_names ('simplify',)
"""

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from wire.base import Name
from wire.manifest import Format

Scheme = Literal["u8s8", "s8s8", "u8u8"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Simplify(_Strict):
    """Fold constants and remove what computes nothing."""


class Float16(_Strict):
    """Store and compute in half precision. `keep_io_types`: inputs and outputs stay float32."""

    keep_io_types: bool = True


class QuantizeStatic(_Strict):
    """Static int8 (QDQ). `scheme`: activations, then weights, u8 or s8. `percentile` belongs to its calibration only.

    `samples`: calibration samples at most. `reduce_range`: weights of 7 bits, exact on processors without VNNI.
    """

    scheme: Scheme = "u8s8"
    calibration: Literal["minmax", "percentile"] = "minmax"
    percentile: float | None = Field(default=None, gt=50, le=100)
    per_channel: bool = True
    reduce_range: bool = False
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

    simplify: Simplify | None = None
    float16: Float16 | None = None
    quantize_static: QuantizeStatic | None = None
    quantize_dynamic: QuantizeDynamic | None = None
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


EngineName = Literal["onnxruntime", "litert", "tflite-runtime", "executorch"]
ExecutionProvider = Literal["cpu", "xnnpack", "cuda", "tensorrt", "openvino", "acl", "qnn", "coreml", "vitisai"]


class OnnxRuntimeOptions(_Strict):
    """Settings of ONNX Runtime; what is left out keeps the engine's default.

    `fallback`: whether a device whose provider does not work may measure and serve on its processor; it then says so.
    """

    graph_optimization: Literal["all", "extended", "basic", "disabled"] | None = None
    spinning: bool | None = None
    memory_arena: bool | None = None
    memory_pattern: bool | None = None
    provider: ExecutionProvider | None = None
    provider_options: dict[str, str | int | float | bool] | None = None
    fallback: bool | None = None

    @model_validator(mode="after")
    def _provider_options_need_a_provider(self) -> Self:
        if self.provider_options and self.provider is None:
            raise ValueError("provider_options are given, and no provider that they would be for: name it")
        return self


class LiteRtOptions(_Strict):
    """Settings of LiteRT. `delegate_library`: an absolute path on the device, for the delegate `library`.

    `fallback`: whether a device whose delegate does not load may measure and serve without; it then says so.
    """

    xnnpack: bool | None = None
    delegate: Literal["none", "gpu", "nnapi", "edgetpu", "library"] | None = None
    delegate_library: str | None = Field(default=None, pattern=r"^/")
    delegate_options: dict[str, str] | None = None
    fallback: bool | None = None

    @model_validator(mode="after")
    def _library_goes_with_its_delegate(self) -> Self:
        if (self.delegate == "library") != (self.delegate_library is not None):
            raise ValueError("delegate: library and delegate_library: /path/on/the/device.so belong together")
        if self.delegate_options and self.delegate in (None, "none"):
            raise ValueError("delegate_options are given, and no delegate that they would be for: name it")
        return self


class TfliteRuntimeOptions(_Strict):
    """Settings of tflite-runtime."""

    xnnpack: bool | None = None


class EngineOptions(_Strict):
    """Settings per engine: a variant is a file together with them."""

    onnxruntime: OnnxRuntimeOptions | None = None
    litert: LiteRtOptions | None = None
    tflite_runtime: TfliteRuntimeOptions | None = None


_RUNS: dict[EngineName, Format] = {
    "onnxruntime": "onnx",
    "litert": "tflite",
    "tflite-runtime": "tflite",
    "executorch": "executorch",
}
_USUAL: tuple[EngineName, ...] = ("onnxruntime", "litert", "executorch")

_TAKES: dict[str, Format] = {
    "simplify": "onnx",
    "float16": "onnx",
    "quantize_static": "onnx",
    "quantize_dynamic": "onnx",
    "tflite_float": "tflite",
    "tflite_quantize": "tflite",
}
_CHANGES_PRECISION = frozenset({"float16", "quantize_static", "quantize_dynamic", "tflite_quantize"})


class Recipe(_Strict):
    """Ordered passes and the formats that they apply to. `engine`: another than the format's usual one."""

    version: Literal[1]
    name: Name
    note: str = Field(default="", max_length=500)
    formats: tuple[Format, ...] = Field(min_length=1)
    passes: tuple[PassStep, ...] = Field(min_length=1, max_length=32)
    engine: EngineName | None = None
    engine_options: EngineOptions = EngineOptions()

    @model_validator(mode="after")
    def _passes_agree(self) -> Self:
        if len(set(self.formats)) != len(self.formats):
            raise ValueError("formats: a format stands twice")
        for name in self.pass_names:
            wrong = [form for form in self.formats if _TAKES[name] != form]
            if wrong:
                raise ValueError(f"passes: {name} takes {_TAKES[name]} files, formats says {', '.join(wrong)}")
        changing = [name for name in self.pass_names if name in _CHANGES_PRECISION]
        if len(changing) > 1:
            raise ValueError(f"passes: {' and '.join(changing)} contradict each other: one pass sets the precision")
        if changing and self.pass_names[-1] != changing[0]:
            raise ValueError(f"passes: {self.pass_names[-1]} comes after {changing[0]}, which must be the last pass")
        if len(set(self.pass_names)) != len(self.pass_names):
            raise ValueError("passes: a pass stands twice")
        return self

    @model_validator(mode="after")
    def _options_have_an_engine(self) -> Self:
        for engine, form in _RUNS.items():
            if getattr(self.engine_options, _attribute(engine), None) is None:
                continue
            if form not in self.formats:
                raise ValueError(f"engine_options: {engine} runs {form}, which is not among formats")
            if engine not in (_USUAL if self.engine is None else (self.engine,)):
                raise ValueError(f"engine_options: {engine} is not the engine of this recipe: say engine: {engine}")
        return self

    @model_validator(mode="after")
    def _engine_runs_the_formats(self) -> Self:
        wrong = [form for form in self.formats if self.engine is not None and _RUNS[self.engine] != form]
        if self.engine is not None and wrong:
            raise ValueError(f"engine: {self.engine} runs {_RUNS[self.engine]}, formats says {', '.join(wrong)}")
        return self

    @property
    def pass_names(self) -> tuple[str, ...]:
        return tuple(step.name for step in self.passes)

    def options_of(self, engine: str) -> dict[str, Any]:
        """Return the settings given for one engine."""
        options: BaseModel | None = getattr(self.engine_options, _attribute(engine), None)
        return {} if options is None else options.model_dump(exclude_none=True)

    def variant_name(self, form: str) -> str:
        """Return the name of this recipe's variant in a format: the recipe's name, with the format before it."""
        return self.name if self.name.split("-")[0] == form else f"{form}-{self.name}"


def _attribute(engine: str) -> str:
    return engine.replace("-", "_")


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of a recipe file, for editors."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Recipe.model_json_schema()}
