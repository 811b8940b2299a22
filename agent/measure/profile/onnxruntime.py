"""ONNX Runtime's profiler: a session with `enable_profiling`, which writes a trace when it ends."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from agent.errors import EngineFailed
from agent.inference.engines.onnxruntime import OnnxRuntimeEngine
from agent.measure.profile.onnx_trace import spent_in_trace
from agent.measure.profile.operators import Spent

if TYPE_CHECKING:
    from agent.measure.profile import Array, Subject


class OnnxRuntimeProfiler:
    """A session of the same options and threads that keeps a trace from its start on."""

    note = "operators as ONNX Runtime fused them, each timed to a whole microsecond"

    def __init__(self, subject: "Subject", folder: Path) -> None:
        manifest, bundle = subject.bundle.manifest, subject.bundle
        self._engine = OnnxRuntimeEngine.load_profiled(
            bundle.model_path, manifest.engine_options, subject.threads, folder / "profile"
        )
        self._runs = self._skipped = 0

    def infer(self, feeds: "Sequence[Array]") -> "list[Array]":
        """Run once."""
        self._runs += 1
        return self._engine.infer(feeds)

    def begin(self) -> None:
        """Leave out what came before."""
        self._skipped = self._runs

    def spent(self) -> list[Spent]:
        """End the trace, read it, and drop its file.

        Raises:
            EngineFailed: The trace cannot be read.
        """
        path = self._engine.end_profiling()
        try:
            return spent_in_trace(json.loads(path.read_bytes()), self._skipped)
        except (OSError, ValueError) as exc:
            raise EngineFailed(f"ONNX Runtime's trace {path.name} cannot be read: {exc}") from exc
        finally:
            path.unlink(missing_ok=True)

    def close(self) -> None:
        self._engine.close()
