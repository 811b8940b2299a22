"""TensorRT's options: precision from the graph, and where the engine that it builds is kept.

Decides: that an engine is used only where it was built: its folder is named by everything that it depends on (model,
TensorRT, ONNX Runtime, driver, device), lies in this agent's own cache, and is taken from nowhere else. Engines are
machine code: no bundle brings one, and a folder that others may write is not used. Leaves out: building, which ONNX
Runtime does as it makes the session; that may take minutes.
"""

import hashlib
import os
import stat
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

from agent.inference.engines.base import Model, content, package_version
from agent.inference.engines.providers.graph import Graph, read_graph
from agent.inference.limits import ENGINE_CACHE_VARIABLE

WORKSPACE_BYTES = 1 << 30
"""Scratch memory of the builder at most; without a limit it takes what the GPU has, on a board what the system has."""

PACKAGES = ("tensorrt", "tensorrt-cu13", "tensorrt-cu12", "tensorrt-cu11")
LIBRARY_FOLDERS = ("usr/lib/aarch64-linux-gnu", "usr/lib/x86_64-linux-gnu", "usr/lib", "usr/local/lib")
LIBRARY = "libnvinfer.so."
ENGINES = "*.engine"


def options_for(model: Model, root: Path = Path("/")) -> dict[str, str]:
    """Return the provider's options for a model.

    Raises:
        EngineFailed: The model is no ONNX file.
    """
    held = content(model)
    graph = read_graph(held)
    found = {
        "trt_max_workspace_size": str(WORKSPACE_BYTES),
        "trt_fp16_enable": "1" if graph.half else "0",
        # Where the graph says itself what is quantised, this lets its scales count; nothing is calibrated.
        "trt_int8_enable": "1" if graph.quantised else "0",
        **_one_query(graph),
    }
    folder = cache_folder(hashlib.sha256(held).hexdigest(), root)
    if folder is None:
        return found
    place, writes = str(folder), "1" if os.access(folder, os.W_OK) else "0"
    return {
        **found,
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": place,
        "trt_timing_cache_enable": writes,
        "trt_timing_cache_path": place,
    }


def _one_query(graph: Graph) -> dict[str, str]:
    """Say the shapes of one query where only the batch is free: else the first inference would build, not the load."""
    shapes = {name: (1, *shape[1:]) for name, shape in graph.inputs.items()}
    is_free = any(-1 in shape for shape in graph.inputs.values())
    if not is_free or any(-1 in shape for shape in shapes.values()):
        return {}
    text = ",".join(f"{name}:{'x'.join(map(str, shape))}" for name, shape in shapes.items())
    return {f"trt_profile_{which}_shapes": text for which in ("min", "opt", "max")}


def cache_folder(digest: str, root: Path = Path("/"), environment: Mapping[str, str] = os.environ) -> Path | None:
    """Return where the engine of a model is kept on this device; null where it may not be.

    Args:
        digest: SHA-256 of the model's file.
        root: Of the file system.
        environment: Says where this agent's compiled engines lie.
    """
    base = environment.get(ENGINE_CACHE_VARIABLE)
    if not base:
        return None
    folder = Path(base) / digest[:32] / key(digest, root)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None  # a serving worker may only read: without an engine there is nothing to read
    return folder if all(map(is_our_own, (folder, folder.parent))) else None


def key(digest: str, root: Path = Path("/")) -> str:
    """Return the name of a folder that holds what was built here, of this model, by these versions, for this device."""
    versions = (tensorrt_version(root), package_version("onnxruntime") or "unknown", driver_version(root))
    return hashlib.sha256("|".join((digest, *versions, device_name(root))).encode()).hexdigest()[:32]


def is_our_own(folder: Path) -> bool:
    """Return whether nobody but this user, the agent or root could have put something into a folder."""
    found = folder.stat()
    return not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not folder.is_symlink()


def built(options: Mapping[str, str]) -> frozenset[str]:
    """Return the engines that lie in the cache."""
    place = options.get("trt_engine_cache_path")
    return frozenset(path.name for path in Path(place).glob(ENGINES)) if place else frozenset()


def tensorrt_version(root: Path = Path("/")) -> str:
    """Return TensorRT's version: of its package, else from its library's name; "unknown" where neither tells."""
    for package in PACKAGES:
        try:
            return metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    names = [path.name for folder in LIBRARY_FOLDERS for path in (root / folder).glob(f"{LIBRARY}*")]
    return max((name.removeprefix(LIBRARY) for name in names), key=_numbers, default="unknown")


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) if part.isdigit() else -1 for part in version.split("."))


def driver_version(root: Path = Path("/")) -> str:
    """Return what tells the driver's version: its own file, on a Jetson the release of its system."""
    for name in ("proc/driver/nvidia/version", "etc/nv_tegra_release"):
        try:
            return (root / name).read_text(encoding="utf-8", errors="replace").splitlines()[0].strip()
        except (OSError, IndexError):
            continue
    return "unknown"


def device_name(root: Path = Path("/")) -> str:
    """Return the GPU's name, on a board the board's; "unknown" where nothing says."""
    for path in sorted((root / "proc/driver/nvidia/gpus").glob("*/information")):
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("Model:"):
                return line.partition(":")[2].strip()
    try:
        return (root / "proc/device-tree/model").read_text(encoding="utf-8", errors="replace").strip("\0 \n")
    except OSError:
        return "unknown"
