"""Which way leads from a model's sources to a target, or why none does.

Decides: for every source, target and precision, the converter and what is done to its float file here; or the reason
against it, with what would work instead. Leaves out: doing it (`make.py`). Pure.

>>> find_route({"onnx"}, "tflite", "int8").worker
'from_onnx.to_tflite'
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import cast, get_args

from controller.convert.conversion import Precision, Source, Target
from controller.errors import UnusableModel
from wire.manifest import Format

FORMATS: Mapping[Target, Format] = {
    "onnx": "onnx", "tflite": "tflite", "executorch": "executorch", "coreml": "coreml", "tensorrt": "onnx"
}  # fmt: skip
"""The format of a target's file: TensorRT builds its engine from ONNX, on the device."""

ENGINES: Mapping[str, str | None] = {
    "onnx": "onnxruntime",
    "tflite": "litert",
    "executorch": "executorch",
    "coreml": None,
    "tensorrt": "onnxruntime",
}
ENGINE_OPTIONS: Mapping[str, Mapping[str, str]] = {"tensorrt": {"provider": "tensorrt"}}

SUFFIXES: Mapping[str, str] = {
    "onnx": "onnx", "tflite": "tflite", "executorch": "pte", "coreml": "mlpackage.zip", "tensorrt": "onnx"
}  # fmt: skip

PRECISIONS: Mapping[str, tuple[str, ...]] = {
    "onnx": ("float", "fp16", "int8"),
    "tflite": ("float", "fp16", "int8"),
    "executorch": ("float", "fp16", "int8"),
    "coreml": ("float", "fp16", "int8", "pal6", "pal4"),
    "tensorrt": ("fp16", "int8"),
}
"""What each target's file can be, in the order of size."""

PREFERRED: Mapping[str, tuple[Source, ...]] = {
    "onnx": ("onnx", "torch", "tensorflow"),
    "tflite": ("torch", "tensorflow", "onnx", "tflite"),
    "executorch": ("torch",),
    "coreml": ("torch",),
    "tensorrt": ("onnx", "torch", "tensorflow"),
}
"""From which source a target is made where several are there."""

_TORCH_INSTEAD = "import the torch module: controller model import FILE.py:FUNCTION --state FILE"

_NO_WAY: Mapping[tuple[str, str], str] = {
    ("onnx", "executorch"): f"ExecuTorch lowers PyTorch programs only, and no ONNX: {_TORCH_INSTEAD}",
    ("onnx", "coreml"): f"coremltools has not read ONNX since version 6: {_TORCH_INSTEAD}",
    ("tensorflow", "executorch"): f"ExecuTorch lowers PyTorch programs only: {_TORCH_INSTEAD}",
    ("tensorflow", "coreml"): (
        "coremltools reads TensorFlow up to 2.12, and Keras 3 needs 2.16 or later: write the network in PyTorch, and "
        + _TORCH_INSTEAD
    ),
    ("tflite", "onnx"): "no converter here reads TFLite: keep the ONNX, torch or Keras model that it was made of",
    ("tflite", "executorch"): f"ExecuTorch lowers PyTorch programs only: {_TORCH_INSTEAD}",
    ("tflite", "coreml"): f"coremltools does not read TFLite: {_TORCH_INSTEAD}",
    ("tflite", "tensorrt"): "TensorRT builds from ONNX, and no converter here reads TFLite: import the ONNX model",
}
"""(source, target) -> why there is no way, and what would be one."""

_THEN: Mapping[tuple[str, str], str] = {
    ("onnx", "fp16"): "float16",
    ("onnx", "int8"): "quantize_static",
    ("tflite", "fp16"): "tflite_float16",
    ("tflite", "int8"): "tflite_quantize",
    ("tensorrt", "fp16"): "float16",
    ("tensorrt", "int8"): "tensorrt_int8",
}
"""(target, precision) -> the step that is made here from the float file, where the converter has none of its own."""


@dataclass(frozen=True)
class Route:
    """How a conversion is made.

    environment, worker: the converter; null where the source's own file is the start. scheme: the precision that is
    asked of it. then: the step that follows here; null: none.
    """

    source: Source
    target: Target
    precision: Precision
    environment: str | None
    worker: str | None
    scheme: str
    then: str | None

    @property
    def calibrates(self) -> bool:
        """Whether ranges of activations are observed over calibration samples."""
        return self.precision == "int8" and self.target != "coreml"

    @property
    def told(self) -> str:
        """The way in words."""
        by = f"{self.worker} in the converter environment {self.environment}" if self.worker else "the model's own file"
        return f"{self.source} -> {self.target} {self.precision}: {by}{f', then {self.then}' if self.then else ''}"


def find_route(sources: Collection[str], target: str, precision: str, source: str | None = None) -> Route:
    """Return the way to a target from what a model has.

    Args:
        sources: Of `Source`: what the model has.
        target: Of `Target`.
        precision: Of `Precision`.
        source: Which of them is meant; where it is null, the first that leads there.
    Raises:
        UnusableModel: None does, or the target has no such precision; the text says what would work.
    """
    if precision not in PRECISIONS[target]:
        raise UnusableModel(_no_precision(target, precision))
    if source is not None and source not in sources:
        raise UnusableModel(f"the model has no {source} source; it has {', '.join(sorted(sources)) or 'none'}")
    reasons = []
    order = (source,) if source else (*PREFERRED[target], *get_args(Source))
    for candidate in dict.fromkeys(each for each in order if each in sources):
        found = _route(cast("Source", candidate), cast("Target", target), cast("Precision", precision))
        if isinstance(found, Route):
            return found
        reasons.append(f"from {candidate}: {found}")
    raise UnusableModel(f"no way to {target} {precision}: {'; '.join(reasons) or 'the model has no source'}")


def _route(source: Source, target: Target, precision: Precision) -> Route | str:
    """Return the way from one source, or the reason why there is none."""
    if reason := _NO_WAY.get((source, target)):
        return reason
    form, then = FORMATS[target], _THEN.get((target, precision))
    if source == form:
        if then is None:
            return f"the model's {source} file is its float {target} already"
        return Route(source, target, precision, None, None, "float", then)
    if source == "tensorflow" and target == "tflite":
        return Route(source, target, precision, "tensorflow", "from_tensorflow.to_tflite", precision, None)
    environment = {"onnx": "onnx2tf"}.get(source, source)
    scheme = "float" if then else precision
    return Route(source, target, precision, environment, f"from_{source}.to_{form}", scheme, then)


def _no_precision(target: str, precision: str) -> str:
    known = ", ".join(PRECISIONS[target])
    if target == "tensorrt" and precision == "float":
        return (
            "the float ONNX file is what TensorRT takes: set engine_options.onnxruntime.provider: tensorrt in a "
            f"recipe; converted for it are {known}"
        )
    return f"{target} has no {precision}; it has {known}"
