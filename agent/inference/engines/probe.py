"""What an engine can really do here: `python -P -m agent.inference.engines.probe ENGINE` prints one JSON object.

Decides: that a provider or delegate counts as usable when the engine was seen to take it: listing is not enough. In a
process of its own: it imports an engine, and a provider whose driver is broken may end it. Leaves out: keeping the
answer (`agent/inventory.py`).
"""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from agent.errors import AgentError
from agent.inference.engines.registry import engine_class
from agent.inference.limits import apply_limits

Found = dict[str, Any]
"""`providers`: those that can be used; `unusable`: provider -> reason, of others that are listed or have a library."""

ADDITION = bytes.fromhex(
    "080812003a440a0e0a01780a0178120179220341646412086164646974696f6e5a130a0178120e0a0c080112080a0208"
    "010a02080162130a0179120e0a0c080112080a0208010a02080142040a00100d"
)
"""An ONNX model (IR 8, opset 13) of one operator, y = x + x with x of shape (1, 1): enough to see who takes it. It is
written out, since a device has no package to make it."""


def look(engine: str) -> Found:
    """Return what an engine can do here.

    Raises:
        EngineUnavailable: It cannot be imported.
        MemoryError: It does not fit.
    """
    library = engine_class(engine).import_library()
    return LOOKS[engine](library)


def _onnxruntime(library: Any) -> Found:
    from agent.inference.engines import providers

    found: Found = {"providers": [], "unusable": {}}
    for name in providers.PROVIDERS:
        if providers.missing(name, library) is not None:
            continue
        refusal = None if name == "cpu" else _refusal(name)
        if refusal is None:
            found["providers"].append(name)
        else:
            found["unusable"][name] = refusal
    return found


def _refusal(name: str) -> str | None:
    """Return why a provider that is listed cannot be used; null where a session took it."""
    from agent.errors import EngineFailed
    from agent.inference.engines.onnxruntime import OnnxRuntimeEngine

    try:
        OnnxRuntimeEngine.load(ADDITION, {"provider": name}, threads=1).close()
    except (EngineFailed, MemoryError) as exc:
        text = str(exc)
        return None if "takes none of the model's operators" in text else text[:400]
    return None


def _interpreter(library: Any) -> Found:
    """XNNPACK comes with the interpreter; of delegates, those are told whose library the loader finds."""
    from agent.inference.engines.delegates import LIBRARIES, DelegateMissing, DelegateUnusable, load_delegate

    found: Found = {"providers": ["xnnpack", "reference"], "unusable": {}}
    for name in LIBRARIES if hasattr(library, "load_delegate") else ():
        try:
            load_delegate(library.load_delegate, {"delegate": name, "delegate_library": "", "delegate_options": {}})
        except DelegateMissing:
            continue
        except DelegateUnusable as exc:
            found["unusable"][name] = str(exc)[:400]
        else:
            found["providers"].append(name)
    return found


def _tflite_runtime(_: Any) -> Found:
    return {"providers": ["xnnpack", "reference"], "unusable": {}}


def _executorch(bridge: Any) -> Found:
    has_xnnpack = "XnnpackBackend" in bridge.backends()
    return {"providers": [*(["xnnpack"] if has_xnnpack else []), "portable"], "unusable": {}}


LOOKS: dict[str, Callable[[Any], Found]] = {
    "onnxruntime": _onnxruntime,
    "litert": _interpreter,
    "tflite-runtime": _tflite_runtime,
    "executorch": _executorch,
}


def main(arguments: list[str]) -> int:
    """Look at the engine that `arguments` name, with a cache folder or none; print what was found."""
    name, *rest = arguments
    apply_limits(threads=1, cache_dir=Path(rest[0]) if rest else None)
    said = os.dup(1)
    os.dup2(2, 1)  # libraries talk on stdout as well
    try:
        found = look(name)
    except (AgentError, MemoryError) as exc:
        found = {"error": str(exc)[:400]}
    with os.fdopen(said, "w") as stream:
        stream.write(json.dumps(found) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
