"""ONNX Runtime, on the processor or through one of its execution providers.

Decides: how a session is set up, and that it really uses the provider which is asked for, or says that it does not.
Threads are given explicitly, one operator at a time, no global pool; the session reads only the model's own file. A
session keeps nothing between calls. Leaves out: the providers themselves (`providers/`).
"""

import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from agent.errors import BatchFixed, EngineFailed
from agent.inference.engines import providers
from agent.inference.engines.base import (
    Model,
    TensorInfo,
    check_vendor_library,
    checked_options,
    import_failure,
    named,
    threads_of,
)
from agent.inference.engines.providers.overheard import overheard
from agent.inference.engines.providers.tensorrt import built

if TYPE_CHECKING:
    from agent.inference.engines.base import Array

NAME = "onnxruntime"
DEFAULTS: Mapping[str, Any] = {
    "graph_optimization": "all",
    "spinning": True,
    "memory_arena": True,
    "memory_pattern": True,
    "provider": "cpu",
    "provider_library": "",
    "provider_options": {},
    "fallback": False,
}
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
            raise import_failure(exc, NAME) from exc
        return onnxruntime

    @classmethod
    def compiles(cls, options: Mapping[str, Any]) -> bool:
        """Return whether the provider compiles models as it loads them."""
        provider = providers.PROVIDERS.get(str(options.get("provider", "cpu")))
        return provider is not None and provider.compiles

    @classmethod
    def load(cls, model: Model, options: Mapping[str, Any], threads: int) -> Self:
        """Make a session of the model.

        Raises:
            EngineUnavailable: onnxruntime is not installed.
            EngineFailed: It refuses the model or an option, or does not use the provider and may not go on without.
        """
        return cls._load(model, options, threads, None)

    @classmethod
    def load_profiled(cls, model: Model, options: Mapping[str, Any], threads: int, prefix: Path) -> Self:
        """Make a session that times each operator, into a trace whose name begins with `prefix`.

        Raises:
            EngineUnavailable: onnxruntime is not installed.
            EngineFailed: It refuses the model or an option, or does not use the provider and may not go on without.
        """
        return cls._load(model, options, threads, prefix)

    @classmethod
    def _load(cls, model: Model, options: Mapping[str, Any], threads: int, trace: Path | None) -> Self:
        onnxruntime = cls.import_library()
        chosen = checked_options(NAME, options, DEFAULTS)
        _check_choice("graph_optimization", chosen, LEVELS)
        _check_choice("provider", chosen, providers.PROVIDERS)
        _check_library(chosen, model)
        wanted = threads_of(NAME, options, threads)
        maker = _Maker(onnxruntime, model, chosen, wanted, trace)
        session = maker.on_processor() if chosen["provider"] == "cpu" else maker.on_provider()
        settings = {**chosen, "intra_op_threads": wanted, "inter_op_threads": 1, "providers": session.get_providers()}
        return cls(session, onnxruntime.__version__, {**settings, **maker.found})

    @property
    def inputs(self) -> tuple[TensorInfo, ...]:
        return self._inputs

    @property
    def outputs(self) -> tuple[TensorInfo, ...]:
        return self._outputs

    def infer(self, inputs: "Sequence[Array]") -> "list[Array]":
        """Run once.

        Raises:
            EngineFailed: The session failed.
        """
        feeds = dict(zip(self._input_names, inputs, strict=True))
        try:
            outputs: list[Array] = self._session.run(self._output_names, feeds)
        except Exception as exc:
            # ONNX Runtime's errors share no base class below Exception.
            raise _translated(exc, "onnxruntime failed while it ran") from exc
        return outputs

    def take_batch(self, size: int) -> None:
        """See that the model's first axes are free: a session takes whatever size then comes.

        Raises:
            BatchFixed: One of them is fixed, or what was compiled is for one query.
        """
        for value in (*self._inputs, *self._outputs):
            if size > 1 and (not value.shape or value.shape[0] != -1):
                raise BatchFixed(f"{value.name!r} of shape {value.shape} has no free batch axis, asked for {size}")
        if size > 1 and "engine_cache" in self.settings:
            raise BatchFixed(f"the provider {self.settings['provider']} compiled the model for one query")

    def reset(self) -> None:
        """Do nothing: a session keeps nothing between calls."""

    def end_profiling(self) -> Path:
        """End the trace of a session that was loaded for it, and return its file."""
        return Path(self._session.end_profiling())

    def close(self) -> None:
        self._session = None


class _Maker:
    """Makes the session of one load. `found`: what that told of provider and cache, for the engine's settings."""

    def __init__(
        self, onnxruntime: Any, model: Model, chosen: Mapping[str, Any], threads: int, trace: Path | None
    ) -> None:
        self.found: dict[str, Any] = {}
        self._onnxruntime = onnxruntime
        self._model = model
        self._chosen, self._threads, self._trace = chosen, threads, trace

    def on_processor(self) -> Any:
        """Return a session that uses the processor alone.

        Raises:
            EngineFailed: The model is refused.
        """
        try:
            return self._session([(providers.CPU, {})], self._options())
        except Exception as exc:
            # ONNX Runtime's errors share no base class below Exception.
            raise _translated(exc, f"onnxruntime {self._onnxruntime.__version__} refuses {named(self._model)}") from exc

    def on_provider(self) -> Any:
        """Return a session that uses the provider; where it may fall back, one that says why it does not.

        Raises:
            EngineFailed: The provider is missing, cannot be used, takes no operator, or refuses the model.
        """
        name = self._chosen["provider"]
        asked = providers.Asked(
            self._chosen["provider_options"], self._threads, self._model, self._chosen["provider_library"]
        )
        try:
            way = providers.way(name, asked, self._onnxruntime)
        except EngineFailed as exc:
            return self._without(str(exc), exc)
        before = built(way.chain[0][1])
        try:
            with overheard() as words:
                session = self._provided(way, self._options(providers.PROVIDERS[name]))
        except Exception as exc:
            # ONNX Runtime's errors share no base class below Exception.
            error = _translated(exc, f"{way.full_name} refuses {named(self._model)}")
            if isinstance(error, MemoryError):
                raise error from exc
            return self._without(str(error), exc)
        self.found["operators"] = providers.operators(session)
        if because := providers.unused(way.full_name, session, words.text()):
            return self._without(because, session=session)
        if name == "tensorrt":
            self.found["engine_cache"] = "hit" if before and built(way.chain[0][1]) == before else "miss"
        return session

    def _without(self, because: str, cause: Exception | None = None, session: Any = None) -> Any:
        """Go on without the provider, if that is allowed, and note why."""
        if not self._chosen["fallback"]:
            raise EngineFailed(f"{because}; to go on without it, set the option fallback") from cause
        self.found["fell_back"] = because
        return self.on_processor() if session is None else session

    def _provided(self, way: providers.Way, options: Any) -> Any:
        """Return a session with a provider that is built in, or on the device of a plug-in."""
        if way.device is None:
            return self._session(way.chain, options)
        options.add_provider_for_devices([way.device], way.chain[0][1])
        return self._session((), options)

    def _session(self, chain: Sequence[tuple[str, Mapping[str, str]]], options: Any) -> Any:
        model = self._model if isinstance(self._model, bytes) else str(self._model)
        names, settings = [name for name, _ in chain], [dict(options) for _, options in chain]
        chosen = {"providers": names, "provider_options": settings} if names else {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what it warns of, `providers` finds out and says as an error
            # Without its own fallback, which prints and goes on: what a provider lacks is ours to judge.
            return self._onnxruntime.InferenceSession(model, options, **chosen, enable_fallback=0)

    def _options(self, provider: providers.Provider | None = None) -> Any:
        library, chosen = self._onnxruntime, self._chosen
        options = library.SessionOptions()
        own_threads = provider is not None and provider.own_threads
        options.intra_op_num_threads = 1 if own_threads else self._threads
        options.inter_op_num_threads = 1
        options.execution_mode = library.ExecutionMode.ORT_SEQUENTIAL
        level = LEVELS[chosen["graph_optimization"]]
        options.graph_optimization_level = getattr(library.GraphOptimizationLevel, level)
        options.enable_cpu_mem_arena = chosen["memory_arena"]
        options.enable_mem_pattern = chosen["memory_pattern"]
        options.log_severity_level = 3
        spins = chosen["spinning"] and not own_threads
        options.add_session_config_entry("session.intra_op.allow_spinning", "1" if spins else "0")
        if provider is not None:
            options.add_session_config_entry(providers.RECORD_ASSIGNMENT, "1")
        if self._trace is not None:
            options.enable_profiling, options.profile_file_prefix = True, str(self._trace)
        return options


def _check_choice(option: str, chosen: Mapping[str, Any], known: Mapping[str, Any]) -> None:
    if chosen[option] not in known:
        raise EngineFailed(f"{NAME} option {option} {chosen[option]!r} is none of {', '.join(known)}")


def _check_library(chosen: Mapping[str, Any], model: Model) -> None:
    if (chosen["provider"] == "library") != bool(chosen["provider_library"]):
        raise EngineFailed(
            f"{NAME}: provider `library` and provider_library, its absolute path on the device, belong together; given "
            f"are {chosen['provider']!r} and {chosen['provider_library']!r}"
        )
    if chosen["provider_library"]:
        check_vendor_library("provider_library", chosen["provider_library"], model)


def _translated(exc: Exception, what: str) -> Exception:
    text = str(exc).strip() or type(exc).__name__
    if isinstance(exc, MemoryError) or "bad_alloc" in text or "Failed to allocate memory" in text:
        return MemoryError(f"{what}: {text[:500]}")
    return EngineFailed(f"{what}: {text[:500]}")


def _info(value: Any) -> TensorInfo:
    shape = tuple(axis if isinstance(axis, int) else -1 for axis in value.shape)
    return TensorInfo(value.name, shape, DTYPES.get(value.type, value.type))
