"""tflite-runtime, the older package of the same interpreter: for boards whose system brings nothing newer.

Its last release (2.14) is for Python 3.11 at most and for numpy below 2. It computes some models wrongly without an
error (dynamic int8 and int4), and some end its process: a bundle's golden outputs are what guards against both.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from agent.inference.engines.base import import_failure
from agent.inference.engines.interpreter import InterpreterEngine


class TfliteRuntimeEngine(InterpreterEngine):
    """The interpreter of the package tflite-runtime."""

    name = "tflite-runtime"
    defaults: ClassVar[Mapping[str, Any]] = {"xnnpack": True}

    @classmethod
    def import_library(cls) -> Any:
        """Import the interpreter's module.

        Raises:
            EngineUnavailable: tflite-runtime is not installed, or numpy is too new for it.
            MemoryError: The library does not fit.
        """
        try:
            from tflite_runtime import interpreter
        except (AttributeError, ImportError, OSError) as exc:
            # AttributeError: what compiled modules for numpy 1 say to numpy 2.
            raise import_failure(exc, cls.name) from exc
        return interpreter
