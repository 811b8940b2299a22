"""Where a worker may keep what its engine compiles of one model: a folder of its own for each, and not too many.

Decides: that a worker writes beside no other model's result: what breaks out of one engine reaches no other one. Leaves
out: what lies there (`tensorrt.py`). Light: the control process makes the folder.
"""

import shutil
from pathlib import Path

from agent.errors import AgentError
from agent.inference.bundle import order_bundle
from agent.inference.limits import engine_folder
from agent.inference.order import WorkerOrder
from wire.manifest import BundleManifest

MOST_MODELS = 16
"""Folders kept; the ones that were used least recently go first."""

COMPILING = {"onnxruntime": frozenset({"tensorrt"})}
"""engine -> the providers that keep what they compile."""


def keeps_compiled(manifest: BundleManifest) -> bool:
    """Return whether the bundle's engine keeps a compiled model on the device."""
    return manifest.engine_options.get("provider") in COMPILING.get(manifest.engine, ())


def model_cache(order: WorkerOrder) -> tuple[Path, ...]:
    """Return the folder in which the worker of `order` may keep its compiled model, made here; mostly there is none."""
    try:
        manifest = order_bundle(order.bundle_dir, order.manifest, order.root).manifest
    except AgentError:
        return ()  # the worker says what is wrong with it
    digests = [entry.sha256 for entry in manifest.files if entry.path == manifest.model_file]
    if not keeps_compiled(manifest) or not digests:
        return ()
    folder = engine_folder(order.cache_dir) / digests[0][:32]
    folder.mkdir(parents=True, exist_ok=True, mode=0o755)
    folder.touch()
    _drop_the_oldest(folder.parent)
    return (folder,)


def _drop_the_oldest(base: Path) -> None:
    folders = sorted((path for path in base.iterdir() if path.is_dir()), key=lambda path: path.stat().st_mtime)
    for folder in folders[:-MOST_MODELS]:
        shutil.rmtree(folder, ignore_errors=True)
