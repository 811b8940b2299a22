"""ONNX Runtime on the processor.

Threads are given explicitly, one operator at a time, no global pool; the session reads only the model's own file.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from agent.errors import BatchFixed, EngineFailed
from agent.inference.engines.base import TensorInfo, checked_options, import_failure, installed_version

if TYPE_CHECKING:
    from agent.inference.engines.base import Array
    from wire.presence import EngineInfo

NAME = "onnxruntime"
DISTRIBUTIONS = ("onnxruntime", "onnxruntime-openvino", "onnxruntime-gpu")
DEFAULTS: Mapping[str, Any] = {"graph_optimization": "all", "spinning": True, "memory_arena": True}
LEVELS = {
    "all": "ORT_ENABLE_ALL",
    "extended": "ORT_ENABLE_EXTENDED",
    "basic": "ORT_ENABLE_BASIC",
    "disabled": "ORT_DISABLE_ALL",
}
DTYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(int8)": "int8",
    "tensor(uint8)": "uint8",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
}


def available() -> "EngineInfo | None":
    """Return what is installed, without importing it; None where it is missing."""
    version = installed_version("onnxruntime", DISTRIBUTIONS)
    if version is None:
        return None
    from wire.presence import EngineInfo  # a worker has no use for it

    return EngineInfo(name=NAME, version=version, formats=("onnx",), providers=("CPUExecutionProvider",))


class OnnxRuntimeEngine:
    """A session with its input and output names looked up once."""

    name = NAME

    def __init__(self, session: Any, version: str, settings: Mapping[str, Any]) -> None:
        self.version = version
        self.settings = settings
        self._session = session
        self._inputs = tuple(_info(value) for value in session.get_inputs())
        self._outputs = tuple(_info(value) for value in session.get_outputs())
        self._input_names = [value.name for value in self._inputs]
        self._output_names = [value.name for value in self._outputs]

    @classmethod
    def import_library(cls) -> Any:
        """Import onnxruntime, its telemetry off.

        Raises:
            EngineUnavailable: It is not installed.
            MemoryError: The library does not fit.
        """
        os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # else the import writes a device identity into the user's cache
        try:
            import onnxruntime
        except (ImportError, OSError) as exc:
            raise import_failure(exc, NAME, "onnxruntime") from exc
        return onnxruntime

    @classmethod
    def load(cls, path: Path, options: Mapping[str, Any], threads: int) -> Self:
        """Make a session of the model at `path`.

        Raises:
            EngineUnavailable: onnxruntime is not installed.
            EngineFailed: It refuses the model or an option.
        """
        return cls._load(path, options, threads, None)

    @classmethod
    def load_profiled(cls, path: Path, options: Mapping[str, Any], threads: int, prefix: Path) -> Self:
        """Make a session that times each operator, into a trace whose name begins with `prefix`.

        Raises:
            EngineUnavailable: onnxruntime is not installed.
            EngineFailed: It refuses the model or an option.
        """
        return cls._load(path, options, threads, prefix)

    @classmethod
    def _load(cls, path: Path, options: Mapping[str, Any], threads: int, trace: Path | None) -> Self:
        onnxruntime = cls.import_library()
        chosen = checked_options(NAME, options, DEFAULTS)
        session_options = _session_options(onnxruntime, chosen, threads)
        if trace is not None:
            session_options.enable_profiling, session_options.profile_file_prefix = True, str(trace)
        try:
            session = onnxruntime.InferenceSession(str(path), session_options, providers=["CPUExecutionProvider"])
        except Exception as exc:
            # ONNX Runtime's errors share no base class below Exception.
            raise _translated(exc, f"onnxruntime {onnxruntime.__version__} refuses {path.name}") from exc
        settings = {**chosen, "intra_op_threads": threads, "inter_op_threads": 1, "providers": session.get_providers()}
        return cls(session, onnxruntime.__version__, settings)

    @property
    def inputs(self) -> tuple[TensorInfo, ...]:
        return self._inputs

    @property
    def outputs(self) -> tuple[TensorInfo, ...]:
        return self._outputs

    def infer(self, inputs: "Sequence[Array]") -> "list[Array]":
        """Run once; the inputs are read where they lie.

        Raises:
            EngineFailed: The session failed.
        """
        feeds = dict(zip(self._input_names, inputs, strict=True))
        try:
            outputs: list[Array] = self._session.run(self._output_names, feeds)
        except Exception as exc:
            raise _translated(exc, "onnxruntime failed while it ran") from exc
        return outputs

    def take_batch(self, size: int) -> None:
        """See that the model's first axes are free: a session takes whatever size then comes.

        Raises:
            BatchFixed: One of them is fixed.
        """
        for value in (*self._inputs, *self._outputs):
            if size > 1 and (not value.shape or value.shape[0] != -1):
                raise BatchFixed(f"{value.name!r} of shape {value.shape} has no free batch axis, asked for {size}")

    def end_profiling(self) -> Path:
        """End the trace of a session that was loaded for it, and return its file."""
        return Path(self._session.end_profiling())

    def close(self) -> None:
        self._session = None


def _session_options(onnxruntime: Any, chosen: Mapping[str, Any], threads: int) -> Any:
    if chosen["graph_optimization"] not in LEVELS:
        raise EngineFailed(f"graph_optimization {chosen['graph_optimization']!r} is none of {', '.join(LEVELS)}")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, LEVELS[chosen["graph_optimization"]])
    options.enable_cpu_mem_arena = chosen["memory_arena"]
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if chosen["spinning"] else "0")
    return options


def _translated(exc: Exception, what: str) -> Exception:
    text = str(exc).strip() or type(exc).__name__
    if isinstance(exc, MemoryError) or "bad_alloc" in text or "Failed to allocate memory" in text:
        return MemoryError(f"{what}: {text[:500]}")
    return EngineFailed(f"{what}: {text[:500]}")


def _info(value: Any) -> TensorInfo:
    shape = tuple(axis if isinstance(axis, int) else -1 for axis in value.shape)
    return TensorInfo(value.name, shape, DTYPES.get(value.type, value.type))
