"""A pass's order: what a pass is given, as JSON for the process that carries it out. Written and read here alone.

Decides: the order's form. Leaves out: who starts the process (`start.py`), and what it does with the order (`step.py`).

    order = pass_order("simplify", {}, Artifact("onnx", path), PassContext(folder, cache))
    run_step(order, folder, "simplify")

Form: `{"do": "pass", "pass", "parameters", "artifact": {format, path, precision}, "context": {a key a field}}`.
"""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from controller.compress.cache import PassCache
from controller.compress.passes.base import Artifact, PassContext


def pass_order(name: str, parameters: Mapping[str, Any], artifact: Artifact, context: PassContext) -> dict[str, Any]:
    """Return the order of a pass, as JSON types. Every field of the context is in it; notes of the artifact are not."""
    return {
        "do": "pass",
        "pass": name,
        "parameters": dict(parameters),
        "artifact": {"format": artifact.format, "path": str(artifact.path), "precision": artifact.precision},
        "context": {each.name: _as_json(getattr(context, each.name)) for each in fields(context)},
    }


def ordered(order: Mapping[str, Any]) -> tuple[Artifact, PassContext]:
    """Return what `pass_order` was given: the artifact and the context."""
    given, around = order["artifact"], order["context"]
    artifact = Artifact(given["format"], Path(given["path"]), given["precision"])
    context = PassContext(
        folder=Path(around["folder"]),
        cache=PassCache(Path(around["cache"])),
        calibration=_path(around["calibration"]),
        calibration_digest=around["calibration_digest"],
        seed=around["seed"],
        threads=around["threads"],
        training=_path(around["training"]),
        root=_path(around["root"]),
    )
    return artifact, context


def _as_json(value: Any) -> Any:
    if isinstance(value, PassCache):
        return str(value.root)
    return str(value) if isinstance(value, Path) else value


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text)
