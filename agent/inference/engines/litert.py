"""LiteRT (TensorFlow Lite) with its default XNNPACK kernels.

An interpreter's tensors are allocated once, for one query; a model with state keeps it between calls, so each stream
of queries needs an engine of its own.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from agent.errors import BatchFixed, EngineFailed
from agent.inference.engines.base import TensorInfo, checked_options, import_failure, installed_version
from wire.spec import Quantisation

if TYPE_CHECKING:
    from agent.inference.engines.base import Array
    from wire.presence import EngineInfo

NAME = "litert"
DISTRIBUTIONS = ("ai-edge-litert",)
DEFAULTS: Mapping[str, Any] = {"xnnpack": True}


def available() -> "EngineInfo | None":
    """Return what is installed, without importing it; None where it is missing."""
    version = installed_version("ai_edge_litert", DISTRIBUTIONS)
    if version is None:
        return None
    from wire.presence import EngineInfo  # a worker has no use for it

    return EngineInfo(name=NAME, version=version, formats=("tflite",), providers=("XNNPACK", "reference"))


class LiteRtEngine:
    """An interpreter with its tensors allocated for a batch of one."""

    name = NAME

    def __init__(self, interpreter: Any, version: str, settings: Mapping[str, Any]) -> None:
        self.version = version
        self.settings = settings
        self._interpreter = interpreter
        self._inputs = tuple(_info(detail) for detail in interpreter.get_input_details())
        self._outputs = tuple(_info(detail) for detail in interpreter.get_output_details())
        self._input_indices = [int(detail["index"]) for detail in interpreter.get_input_details()]
        self._output_indices = [int(detail["index"]) for detail in interpreter.get_output_details()]

    @classmethod
    def import_library(cls) -> Any:
        """Import LiteRT's interpreter module.

        Raises:
            EngineUnavailable: ai-edge-litert is not installed.
            MemoryError: The library does not fit.
        """
        try:
            from ai_edge_litert import interpreter
        except (ImportError, OSError) as exc:
            raise import_failure(exc, NAME, "litert") from exc
        return interpreter

    @classmethod
    def load(cls, path: Path, options: Mapping[str, Any], threads: int) -> Self:
        """Make an interpreter of the model at `path` and allocate its tensors.

        Raises:
            EngineUnavailable: ai-edge-litert is not installed.
            EngineFailed: It refuses the model or an option.
        """
        litert = cls.import_library()
        chosen = checked_options(NAME, options, DEFAULTS)
        kinds = litert.OpResolverType
        resolver = kinds.AUTO if chosen["xnnpack"] else kinds.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        try:
            loaded = litert.Interpreter(
                model_path=str(path), num_threads=threads, experimental_op_resolver_type=resolver
            )
            _allocate_one_query(loaded)
        except (RuntimeError, ValueError) as exc:
            raise EngineFailed(f"litert refuses {path.name}: {str(exc)[:500]}") from exc
        version = installed_version("ai_edge_litert", DISTRIBUTIONS) or "unknown"
        return cls(loaded, version, {**chosen, "intra_op_threads": threads})

    @property
    def inputs(self) -> tuple[TensorInfo, ...]:
        return self._inputs

    @property
    def outputs(self) -> tuple[TensorInfo, ...]:
        return self._outputs

    def infer(self, inputs: "Sequence[Array]") -> "list[Array]":
        """Copy the inputs into the interpreter's own tensors and run once; the outputs are copies.

        Raises:
            EngineFailed: The interpreter failed.
        """
        try:
            for index, array in zip(self._input_indices, inputs, strict=True):
                self._interpreter.set_tensor(index, array)
            self._interpreter.invoke()
            return [self._interpreter.get_tensor(index) for index in self._output_indices]
        except (RuntimeError, ValueError) as exc:
            raise EngineFailed(f"litert failed while it ran: {str(exc)[:500]}") from exc

    def take_batch(self, size: int) -> None:
        """Allocate the tensors for `size` queries. Also a model of a fixed shape may let that happen; whether its
        answers stay the same, the caller looks at.

        Raises:
            BatchFixed: The interpreter refuses, or an output does not grow with the inputs.
        """
        try:
            _allocate(self._interpreter, size)
        except (RuntimeError, ValueError) as exc:
            _allocate(self._interpreter, 1)
            raise BatchFixed(f"litert cannot resize the model to {size} queries: {str(exc)[:300]}") from exc
        for value in map(_info, self._interpreter.get_output_details()):
            if value.shape[:1] != (size,):
                _allocate(self._interpreter, 1)
                raise BatchFixed(f"output {value.name!r} has the shape {value.shape} in a batch of {size}")

    def close(self) -> None:
        self._interpreter = None


def _allocate_one_query(interpreter: Any) -> None:
    for detail in interpreter.get_input_details():
        signature = [int(axis) for axis in detail.get("shape_signature", detail["shape"])]
        if signature and signature[0] == -1:
            shape = [1, *(int(axis) for axis in detail["shape"][1:])]
            interpreter.resize_tensor_input(detail["index"], shape, strict=True)
    interpreter.allocate_tensors()


def _allocate(interpreter: Any, size: int) -> None:
    for detail in interpreter.get_input_details():
        interpreter.resize_tensor_input(detail["index"], [size, *(int(axis) for axis in detail["shape"][1:])])
    interpreter.allocate_tensors()


def _info(detail: Mapping[str, Any]) -> TensorInfo:
    scale, zero_point = detail["quantization"]
    quantisation = Quantisation(scale=float(scale), zero_point=int(zero_point)) if scale > 0 else None
    shape = tuple(int(axis) for axis in detail["shape"])
    return TensorInfo(str(detail["name"]), shape, str(detail["dtype"].__name__), quantisation)
