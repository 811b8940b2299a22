"""Which engines run a format, and what each can be told in a recipe.

Decides: names and options, as the agent's engines take them. Leaves out: what they do on a device (`agent/inference`).
Pure.

>>> ENGINES_OF["tflite"]
('litert', 'tflite-runtime')
"""

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from wire.manifest import Format

EngineName = Literal["onnxruntime", "litert", "tflite-runtime", "executorch"]
ExecutionProvider = Literal[
    "cpu", "xnnpack", "cuda", "tensorrt", "openvino", "acl", "qnn", "coreml", "vitisai", "library"
]

ENGINES_OF: Mapping[Format, tuple[str, ...]] = {
    "onnx": ("onnxruntime",),
    "tflite": ("litert", "tflite-runtime"),
    "executorch": ("executorch",),
}
"""The engines that run a format on devices. A recipe that names none means all of them that devices have, the first
before the others."""

ENGINE_OF: Mapping[str, str] = {form: engines[0] for form, engines in ENGINES_OF.items()}
RUNS: Mapping[str, Format] = {engine: form for form, engines in ENGINES_OF.items() for engine in engines}


class _Options(BaseModel):
    """What every engine can be told. `threads`: no more than that, and than a device's configuration allows."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    threads: int | None = Field(default=None, ge=1, le=64)


class OnnxRuntimeOptions(_Options):
    """Settings of ONNX Runtime; what is left out keeps the engine's default.

    `provider_library`: an absolute path on the device, for the provider `library`.
    `fallback`: whether a device whose provider does not work may measure and serve on its processor; it then says so.
    """

    graph_optimization: Literal["all", "extended", "basic", "disabled"] | None = None
    spinning: bool | None = None
    memory_arena: bool | None = None
    memory_pattern: bool | None = None
    provider: ExecutionProvider | None = None
    provider_library: str | None = Field(default=None, pattern=r"^/")
    provider_options: dict[str, str | int | float | bool] | None = None
    fallback: bool | None = None

    @model_validator(mode="after")
    def _what_is_said_of_a_provider_goes_with_it(self) -> Self:
        if self.provider_options and self.provider is None:
            raise ValueError("provider_options are given, and no provider that they would be for: name it")
        if (self.provider == "library") != (self.provider_library is not None):
            raise ValueError("provider: library and provider_library: /path/on/the/device.so belong together")
        return self


class LiteRtOptions(_Options):
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


class TfliteRuntimeOptions(_Options):
    """Settings of tflite-runtime."""

    xnnpack: bool | None = None


class ExecutorchOptions(_Options):
    """Settings of ExecuTorch: it has none of its own."""


class EngineOptions(BaseModel):
    """Settings per engine: a variant is a file together with them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    onnxruntime: OnnxRuntimeOptions | None = None
    litert: LiteRtOptions | None = None
    tflite_runtime: TfliteRuntimeOptions | None = None
    executorch: ExecutorchOptions | None = None

    @property
    def engines(self) -> tuple[str, ...]:
        """The engines that something is said of."""
        return tuple(engine for engine in RUNS if self._part(engine) is not None)

    def of(self, engine: str) -> dict[str, Any]:
        """Return the settings given for one engine."""
        part = self._part(engine)
        return {} if part is None else part.model_dump(exclude_none=True)

    def _part(self, engine: str) -> BaseModel | None:
        found: BaseModel | None = getattr(self, engine.replace("-", "_"), None)
        return found
