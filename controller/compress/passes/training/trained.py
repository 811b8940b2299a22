"""What passes that train have in common: the order for the worker, and what is said of its result.

Decides: that labels count where there are some, and that the environment `torch` trains. Leaves out: training
(`controller/compress/training`).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from controller.compress.channels import trace
from controller.compress.materials.training import INPUTS, TARGETS, TEACHER, Material
from controller.compress.materials.views import kept_views
from controller.compress.passes.base import Artifact, Needs, PassContext
from controller.convert.environments import Limits, required, run_worker
from controller.convert.onnx_io import parse_onnx
from controller.errors import UnusableData, UnusableModel

ENVIRONMENT = "torch"
WORKER = "controller.compress.training.worker"
LONGEST_S = 24 * 3600.0
_TRAINING = "controller.compress.training"
_LOOP = (
    "attacks.methods",
    "augment",
    "features",
    "lessons",
    "loop",
    "losses",
    "masks",
    "schedules",
    "settings",
    "views",
    "worker",
)
_NETWORK = ("graph", "operators", "quantised", "rewrite", "shapes", "windows")
SOURCES = (*(f"{_TRAINING}.{name}" for name in _LOOP), *(f"{_TRAINING}.network.{name}" for name in _NETWORK))
NEEDS = Needs(
    libraries=("numpy",),
    deterministic=False,
    training=True,
    environment=ENVIRONMENT,
    sources=(__name__, "controller.compress.materials.views", *SOURCES),
)


def trained(
    artifact: Artifact, parameters: Mapping[str, Any], context: PassContext, parts: Mapping[str, Any]
) -> Artifact:
    """Train a file and return the result.

    Args:
        artifact: ONNX, float32 or QDQ.
        parameters: Of the pass; those of `Course` among them.
        context: With training material.
        parts: Of the order, in place of those that it has by default: `teacher`, `objective`, `sparsity`, `attack`.
    Raises:
        UnusableData: There are no samples to train on, or no labels where nothing else teaches.
        UnusableModel: The graph cannot be trained.
        ConversionFailed: The worker crashed or took too long.
    """
    material = _material(context)
    order = {**_order(artifact, parameters, context, material), **parts}
    if order["targets"] is None and order["teacher"] is None:
        raise UnusableData("there are no labels to train with; distill learns from the baseline alone")
    if (views := parameters.get("views", 0)) and not parameters["features"]:
        order["views"] = str(kept_views(order, views, context))
    limits = Limits(longest_s=LONGEST_S, threads=context.threads)
    result = run_worker(required(ENVIRONMENT), WORKER, order, context.folder, limits)
    if result["outcome"] != "ok":
        raise UnusableModel(str(result["error"]))
    for name in ("start.onnx", "rows.npy", "known.npy", TEACHER):
        (context.folder / name).unlink(missing_ok=True)
    return Artifact("onnx", context.folder / result["file"], artifact.precision, notes=(_note(order, result),))


def objective(material: Material, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the objective's fields: labels alone count where the pass has no alpha."""
    fields = {name: parameters[name] for name in ("alpha", "temperature", "label_smoothing") if name in parameters}
    return {"kind": material.kind, "probabilities": material.probabilities, **fields}


def _material(context: PassContext) -> Material:
    if context.training is None:
        raise UnusableData("this pass trains and the model names no samples; add `data` to its model.yaml")
    return Material.read(context.training)


def _order(
    artifact: Artifact, parameters: Mapping[str, Any], context: PassContext, material: Material
) -> dict[str, Any]:
    inputs, targets = _samples(material, parameters["samples"], context)
    return {
        "model": str(_inlined(artifact.path, context.folder / "start.onnx")),
        "folder": str(context.folder),
        "inputs": str(inputs),
        "targets": None if targets is None else str(targets),
        "classes": material.classes,
        "teacher": str(_inlined(material.folder / TEACHER, context.folder / TEACHER))
        if "alpha" in parameters
        else None,
        "objective": objective(material, parameters),
        "views": None,
        "settings": dict(parameters),
        "augment": dict(material.augment) if parameters["augment"] else {},
        "sparsity": None,
        "attack": None,
        "seed": context.seed,
        "threads": context.threads,
    }


def _samples(material: Material, at_most: int | None, context: PassContext) -> tuple[Path, Path | None]:
    """Return the files of inputs and targets; where fewer are asked for, of those spread evenly over all."""
    inputs, targets = material.folder / INPUTS, material.folder / TARGETS
    known = np.load(inputs, mmap_mode="r", allow_pickle=False)
    if at_most is None or len(known) <= at_most:
        return inputs, targets if material.labelled else None
    rows = np.linspace(0, len(known) - 1, at_most).round().astype(np.int64)
    np.save(context.folder / "rows.npy", known[rows], allow_pickle=False)
    if not material.labelled:
        return context.folder / "rows.npy", None
    np.save(context.folder / "known.npy", np.load(targets, allow_pickle=False)[rows], allow_pickle=False)
    return context.folder / "rows.npy", context.folder / "known.npy"


def _inlined(source: Path, path: Path) -> Path:
    """Write a model with its constants among the initialisers."""
    import onnx

    onnx.save(trace.inlined(parse_onnx(source)), path)
    return path


def _note(order: Mapping[str, Any], result: Mapping[str, Any]) -> str:
    losses, steps = result["losses"], order["settings"]["steps"]
    zeros = f", {result['zeros_ratio']:.0%} of its weights zero" if result["zeros_ratio"] else ""
    return f"trained for {steps} steps in {result['minutes']:.1f} min, loss {losses[0]:.3f} to {losses[-1]:.3f}{zeros}"
