"""Run a converter and keep what it made by content: the same source, converter and queries are not converted twice.

Decides: what a worker is told, and what its result depends on. Leaves out: which worker (`routes.py`) and what is done
to its file afterwards (`finish.py`).
"""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from controller.compress.cache import PassCache, cache_key
from controller.convert import workers
from controller.convert.conversion import Ends, Layout, WeightParity, files_digest
from controller.convert.environments import Environment, Limits, required, run_worker
from controller.convert.making.routes import Route
from controller.convert.signature import read_signature
from controller.convert.tflite import read_tflite
from controller.errors import UnusableModel
from controller.models.folder import FormatEntry, ModelFolder
from controller.models.samples import arrays_digest
from wire.spec import PreSpec

OPSETS: Mapping[str, int] = {"torch": 20, "tensorflow": 18}
"""The newest opset that each exporter writes and every engine here reads."""

_PASSED_ON = ("ONNX_", "Flex")

CHANNEL_LAST: Mapping[str, Layout] = {"NCHW": "NHWC", "NCL": "NLC"}


@dataclass(frozen=True)
class Made:
    """A file on its way to a conversion.

    ends: which of its tensors are meant. source_outputs, outputs: what a worker computed, one array a file of the
    source and of the conversion; empty where the controller runs them itself.
    """

    path: Path
    ends: Ends
    versions: Mapping[str, str]
    source_outputs: tuple[Path, ...] = ()
    outputs: tuple[Path, ...] = ()
    weights: WeightParity | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class ExportSettings:
    """What one conversion's exports share.

    inputs: model inputs for workers that run the source: `inputs` of the parity queries, `calibration` where it
    calibrates; empty for a worker that reads a file alone. channel_last: as asked; null: where it makes pictures
    faster.
    """

    cache: PassCache
    inputs: Mapping[str, NDArray[Any]]
    limits: Limits
    channel_last: bool | None = None


def own_file(route: Route, model: ModelFolder) -> Made:
    """Return the model's own file of the route's source as the start."""
    entry = next(entry for form, entry in model.spec.formats.items() if form == route.source)
    return Made(model.file(route.source), entry.ends, {})


def exported(route: Route, model: ModelFolder, pre: PreSpec, entry: FormatEntry | None, given: ExportSettings) -> Made:
    """Run the route's worker.

    Args:
        route: With a worker.
        model: The source's.
        pre: How the source takes its inputs.
        entry: The model's file that says so; null where there is none.
        given: Inputs, cache, limits.
    Raises:
        ConverterMissing: Its environment is not installed.
        ConversionFailed: It crashed, hung, or took too much memory.
        UnusableModel: It refuses the model, or a file of the source is missing or lies outside the model's folder.
    """
    assert route.worker is not None
    assert route.environment is not None
    for path in model.sources()[route.source]:
        model.inside(os.path.relpath(path, model.root), route.source)
    environment, ends = required(route.environment), _ends(route, pre, entry, given.channel_last)
    asked = _asked(route, model, pre, ends)
    key = _key(route, model, environment, asked, given)
    found = given.cache.get_or_make(key, lambda folder: _run(route, environment, asked, given, folder))
    facts, folder = found.facts, found.folder
    if route.target == "tflite":
        _check_operators(route, folder / facts["file"])
    return Made(
        folder / facts["file"],
        ends,
        facts["versions"],
        tuple(folder / name for name in facts.get("source_outputs", ())),
        tuple(folder / name for name in facts.get("outputs", ())),
        WeightParity(**facts["weights"]) if "weights" in facts else None,
        tuple(facts["notes"]),
    )


def _check_operators(route: Route, path: Path) -> None:
    """Refuse operators that a converter passed on under another name, for want of a form in TFLite.

    onnx2tf writes those that it has no form for as custom ones, TensorFlow's converter as ones of TensorFlow itself.
    """
    names = (name.removeprefix("CUSTOM ") for name in read_tflite(path).operators if name.startswith("CUSTOM "))
    lacking = [name.removeprefix(mark) for name in names for mark in _PASSED_ON if name.startswith(mark)]
    if lacking:
        raise UnusableModel(
            f"{route.told}: no TFLite form of {', '.join(lacking)}, so no engine for TFLite has what was written; run "
            f"the model as onnx, or replace these operators"
        )


def _asked(route: Route, model: ModelFolder, pre: PreSpec, ends: Ends) -> dict[str, Any]:
    """Return what the worker is asked, but for its inputs."""
    names = {"input": ends.input or pre.input.name, "outputs": _output_names(model)}
    asked: dict[str, Any] = {"precision": route.scheme, "names": names, "opset": OPSETS.get(route.source, 0)}
    if route.source == "torch" and model.spec.torch is not None:
        asked |= {"root": str(model.root), "torch": model.spec.torch.model_dump(exclude_none=True)}
        asked["channel_last"] = ends.layout == "NHWC" and pre_layout(pre) == "NCHW"
    elif route.source == "tensorflow" and model.spec.tensorflow is not None:
        asked["model"] = str(model.root / model.spec.tensorflow.model)
    else:
        path = model.file(route.source)
        moved = pre.input.name if ends.layout != pre_layout(pre) else None
        kept = [tensor.name for tensor in read_signature(route.source, path).inputs if tensor.name != moved]
        asked |= {"model": str(path), "keep": kept}
    return asked


def _output_names(model: ModelFolder) -> list[str]:
    """Return the names of the outputs of the model's own ONNX file, which another one made from its source keeps."""
    if "onnx" not in model.spec.formats:
        return []
    return [tensor.name for tensor in read_signature("onnx", model.file("onnx")).outputs]


def _ends(route: Route, pre: PreSpec, entry: FormatEntry | None, channel_last: bool | None) -> Ends:
    """Return which tensors the converter's file will have, as far as it is known beforehand.

    Names that a file keeps are those of the source's; a program of ExecuTorch keeps none.
    """
    known = entry.ends if entry is not None and route.source == "onnx" else Ends()
    layout = pre_layout(pre)
    if route.target == "tflite" and route.source in ("torch", "onnx") and layout is not None and layout in CHANNEL_LAST:
        wanted = layout == "NCHW" if channel_last is None else channel_last
        layout = CHANNEL_LAST[layout] if wanted else layout
    return known.model_copy(update={"layout": layout})


def pre_layout(pre: PreSpec) -> Layout | None:
    """Return the order of the input's axes where the kind of pre-processing has one."""
    layout: Layout | None = getattr(pre, "layout", None)
    return layout


def _run(
    route: Route, environment: Environment, asked: Mapping[str, Any], given: ExportSettings, folder: Path
) -> dict[str, Any]:
    order = {**asked, "folder": str(folder)}
    for name, inputs in given.inputs.items():
        order[name] = str(folder / f"{name}.npy")
        np.save(order[name], inputs, allow_pickle=False)
    result = run_worker(environment, str(route.worker), order, folder, given.limits)
    if result["outcome"] != "ok":
        raise UnusableModel(f"{route.told}: {result['error']}")
    for name in given.inputs:
        (folder / f"{name}.npy").unlink()
    return result


def _key(
    route: Route, model: ModelFolder, environment: Environment, asked: Mapping[str, Any], given: ExportSettings
) -> str:
    return cache_key(
        {
            "what": "conversion",
            "worker": [route.worker, _workers_digest()],
            "environment": environment.versions,
            "source": files_digest(model.sources()[route.source]),
            "asked": {name: value for name, value in asked.items() if name not in ("root", "model")},
            "inputs": {name: arrays_digest(inputs) for name, inputs in given.inputs.items()},
        }
    )


def _workers_digest() -> str:
    digest = hashlib.sha256()
    for source in sorted(Path(next(iter(workers.__path__))).rglob("*.py")):
        digest.update(source.read_bytes())
    return digest.hexdigest()
