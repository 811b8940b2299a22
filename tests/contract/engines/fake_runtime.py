"""ONNX Runtime and LiteRT with providers and delegates that this machine lacks: the real thing on the processor, which
says of itself what the real one with such a provider would say.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import onnxruntime
from ai_edge_litert import interpreter

CPU = "CPUExecutionProvider"


class FakeOptions(onnxruntime.SessionOptions):  # type: ignore[misc]
    """Session options that remember the device of a plug-in."""

    def __init__(self) -> None:
        super().__init__()
        self.plugged: list[tuple[str, str, dict[str, str]]] = []

    def add_provider_for_devices(self, devices: "Sequence[FakeDevice]", options: Mapping[str, str]) -> None:
        self.plugged += [(each.ep_name, each.device.type.name, dict(options)) for each in devices]


@dataclass(eq=False)
class FakeOnnxRuntime:
    """Lists `listed`; a session uses a provider unless it `lacks` it, and gives it `taken` operators. The libraries in
    `plugins` can be registered, and bring their devices: (full name, kind).
    """

    listed: Sequence[str] = (CPU,)
    lacks: str = ""
    taken: int | None = 2
    raises: Exception | None = None
    says: str = ""
    builds: bool = False
    asked: list[dict[str, Any]] = field(default_factory=list)
    plugins: Mapping[str, Sequence[tuple[str, str]]] = field(default_factory=dict)
    registered: list[tuple[str, str]] = field(default_factory=list)
    __version__ = onnxruntime.__version__
    SessionOptions = FakeOptions
    ExecutionMode = onnxruntime.ExecutionMode
    GraphOptimizationLevel = onnxruntime.GraphOptimizationLevel

    def get_available_providers(self) -> list[str]:
        return [*self.listed]

    def register_execution_provider_library(self, name: str, library: str) -> None:
        if library not in self.plugins:
            raise RuntimeError(f"{library}: invalid ELF header")
        if name in dict(self.registered):
            raise RuntimeError(f"library is already registered under {name}")
        self.registered.append((name, library))

    def get_ep_devices(self) -> "list[FakeDevice]":
        brought = [each for _, library in self.registered for each in self.plugins[library]]
        return [FakeDevice(name, SimpleNamespace(type=SimpleNamespace(name=kind))) for name, kind in brought]

    def InferenceSession(self, model: Any, options: Any, **given: Any) -> "FakeSession":  # noqa: N802 - its name there
        self.asked.append({**given, "options": options, "model": model})
        names = given.get("providers") or [*(name for name, _, _ in options.plugged), CPU]
        is_plain = names == [CPU]
        if self.says and not is_plain:
            os.write(2, self.says.encode())
        if self.raises is not None and not is_plain:
            raise self.raises
        if self.builds and not is_plain:
            _build(given["provider_options"][0])
        session = onnxruntime.InferenceSession(model, options, providers=[CPU])
        return FakeSession(session, [name for name in names if name != self.lacks], self.taken)


def _build(options: Mapping[str, str]) -> None:
    """Leave an engine in the cache, as TensorRT does where there is none."""
    if options.get("trt_engine_cache_enable") == "1":
        (Path(options["trt_engine_cache_path"]) / "model_sm87.engine").write_bytes(b"an engine")


@dataclass
class FakeDevice:
    """A device that a plug-in can be used on."""

    ep_name: str
    device: Any


class FakeSession:
    """A session on the processor that names other providers."""

    def __init__(self, session: Any, uses: list[str], taken: int | None) -> None:
        self._session = session
        self._uses = uses
        if taken is not None:
            first = FakePart(uses[0] if len(uses) > 1 and taken else CPU, taken or 2)
            self.get_provider_graph_assignment_info = lambda: [first, FakePart(CPU, 1)]

    def __getattr__(self, name: str) -> Any:
        if name == "get_provider_graph_assignment_info":
            raise AttributeError(name)  # older releases have no such method
        return getattr(self._session, name)

    def get_providers(self) -> list[str]:
        return self._uses


@dataclass
class FakePart:
    """A part of a graph that one provider took."""

    ep_name: str
    operators: int

    def get_nodes(self) -> list[int]:
        return [0] * self.operators


class FakeLiteRt:
    """LiteRT's interpreter with a delegate that takes `parts` of a model, or none."""

    OpResolverType = interpreter.OpResolverType

    def __init__(self, parts: int = 1, refuses: str = "") -> None:
        self.parts, self.refuses = parts, refuses
        self.loaded: list[tuple[str, dict[str, str]]] = []

    def load_delegate(self, library: str, options: dict[str, str]) -> object:
        self.loaded.append((library, options))
        if self.refuses:
            raise ValueError(self.refuses)
        return object()

    def Interpreter(self, experimental_delegates: Any = None, **given: Any) -> Any:  # noqa: N802 - its name there
        return FakeInterpreter(interpreter.Interpreter(**given), self.parts if experimental_delegates else 0)


class FakeInterpreter:
    """An interpreter whose graph shows parts that a delegate took."""

    def __init__(self, real: Any, parts: int) -> None:
        self._real, self._parts = real, parts

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def _get_ops_details(self) -> list[dict[str, str]]:
        return [{"op_name": "ADD"}, *[{"op_name": "DELEGATE"}] * self._parts]
