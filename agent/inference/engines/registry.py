"""Which engines there are by name, and which of them are installed. Nothing is loaded until it is asked for."""

import importlib
from collections.abc import Collection
from typing import TYPE_CHECKING

from agent.errors import EngineUnavailable
from agent.inference.engines.base import Engine

if TYPE_CHECKING:
    from wire.presence import EngineInfo

ENGINES: dict[str, tuple[str, str]] = {
    "onnxruntime": ("agent.inference.engines.onnxruntime", "OnnxRuntimeEngine"),
    "litert": ("agent.inference.engines.litert", "LiteRtEngine"),
}
"""engine name -> (module, class)."""


def engine_class(name: str) -> type[Engine]:
    """Return the class of the engine `name`.

    Raises:
        EngineUnavailable: No engine of that name is known to this release.
    """
    if name not in ENGINES:
        raise EngineUnavailable(f"no engine {name!r} in this release: it has {', '.join(sorted(ENGINES))}")
    module, attribute = ENGINES[name]
    found: type[Engine] = getattr(importlib.import_module(module), attribute)
    return found


def available_engines(allowed: Collection[str] | None = None) -> "tuple[EngineInfo, ...]":
    """Return the engines that are installed here, without importing them.

    Args:
        allowed: Names that the configuration allows; None allows all.
    """
    found: list[EngineInfo] = []
    for name, (module, _) in ENGINES.items():
        if allowed is None or name in allowed:
            info = importlib.import_module(module).available()
            found += [] if info is None else [info]
    return tuple(found)
