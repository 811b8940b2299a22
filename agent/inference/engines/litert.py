"""LiteRT (TensorFlow Lite) with its default XNNPACK kernels, its own, or a delegate's."""

from collections.abc import Mapping
from typing import Any, ClassVar

from agent.inference.engines.base import import_failure
from agent.inference.engines.interpreter import InterpreterEngine


class LiteRtEngine(InterpreterEngine):
    """The interpreter of the package ai-edge-litert."""

    name = "litert"
    defaults: ClassVar[Mapping[str, Any]] = {
        "xnnpack": True,
        "delegate": "none",
        "delegate_library": "",
        "delegate_options": {},
        "fallback": False,
    }

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
            raise import_failure(exc, cls.name) from exc
        return interpreter
