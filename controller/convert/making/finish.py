"""What is done here to a float file: half precision, int8. Each step in a process of its own, its result kept.

Decides: which pass or step stands for a route's `then`, and with which parameters. Leaves out: what they do
(`compress/passes`, `steps`).
"""

import inspect
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from controller.compress.build import EVERYTHING, pass_key
from controller.compress.cache import Entry, PassCache, cache_key
from controller.compress.passes import PASSES, find_pass
from controller.compress.passes.base import ENDS_FILE, Artifact, CalibrationEnds, PassContext
from controller.compress.process.order import pass_order
from controller.compress.process.start import PassFailed, run_child, run_step
from controller.compress.recipe import PassStep
from controller.convert.digest import model_digest
from controller.convert.making.steps import tensorrt_int8, tensorrt_rules, tflite_float16
from controller.convert.operators import file_precision
from controller.errors import UnusableModel
from controller.models.samples import arrays_digest

PARAMETERS: Mapping[str, Mapping[str, Any]] = {
    "float16": {},
    # The scheme that every processor computes exactly: which of them the file will meet is not known here. A recipe
    # chooses by device class.
    "quantize_static": {"scheme": "s8s8"},
    "tflite_quantize": {"mode": "static"},
}
LIBRARIES = {"tflite_float16": ("ai-edge-quantizer",), "tensorrt_int8": ("onnx", "onnxruntime", "numpy")}
SEED = 0


@dataclass(frozen=True)
class Calibration:
    """Inputs as the float file takes them, shape (n, …), and where they go."""

    inputs: NDArray[Any]
    ends: CalibrationEnds

    @property
    def digest(self) -> str:
        return cache_key({"inputs": arrays_digest(self.inputs), "ends": asdict(self.ends)})


@dataclass(frozen=True)
class Finished:
    """What a step made: its file, notes, and the versions of what made it."""

    path: Path
    notes: tuple[str, ...]
    versions: Mapping[str, str]


def finished(then: str, form: str, path: Path, calibration: Calibration | None, cache: PassCache) -> Finished:
    """Carry out a step on a file.

    Args:
        then: Name of a pass, or of a step of `steps`.
        form: The file's format.
        path: The float file.
        calibration: Where the step calibrates.
        cache: Keeps the result.
    Raises:
        UnusableModel: The step refuses the file, crashed, or took too long.
    """
    try:
        entry = (_passed if then in PASSES else _stepped)(then, form, path, calibration, cache)
    except PassFailed as exc:
        raise UnusableModel(f"{then}: {exc.because}") from exc
    libraries = find_pass(then).needs.libraries if then in PASSES else LIBRARIES[then]
    return Finished(
        entry.folder / entry.facts["file"], tuple(entry.facts["notes"]), {name: version(name) for name in libraries}
    )


def _passed(then: str, form: str, path: Path, calibration: Calibration | None, cache: PassCache) -> Entry:
    """Run a compression pass, as `model compress` does."""
    chosen = find_pass(then)
    parameters = PassStep.model_validate({then: PARAMETERS[then]}).parameters
    artifact = Artifact(form, path, file_precision(form, path))
    if reason := chosen.applies(EVERYTHING, artifact):
        raise PassFailed(then, reason)
    digest = calibration.digest if calibration is not None else ""
    key = pass_key(chosen, parameters, artifact, digest, SEED)

    def make(folder: Path) -> Mapping[str, Any]:
        context = PassContext(folder, cache, _saved(calibration, folder), digest, SEED)
        return run_step(pass_order(then, parameters, artifact, context), folder, then)

    return cache.get_or_make(key, make)


def _stepped(then: str, form: str, path: Path, calibration: Calibration | None, cache: PassCache) -> Entry:
    sources = (tensorrt_int8, tensorrt_rules) if then == "tensorrt_int8" else (tflite_float16,)
    key = cache_key(
        {
            "step": then,
            "model": model_digest(form, path),
            "calibration": calibration.digest if calibration is not None else "",
            "source": [inspect.getsource(module) for module in sources],
            "libraries": {name: version(name) for name in LIBRARIES[then]},
        }
    )

    def make(folder: Path) -> Mapping[str, Any]:
        saved = _saved(calibration, folder)
        order = {"do": then, "path": str(path), "folder": str(folder), "calibration": str(saved) if saved else None}
        result = run_child("controller.convert.making.steps.run", order, folder, then)
        if result["outcome"] != "ok":
            raise PassFailed(then, result["error"])
        return result

    return cache.get_or_make(key, make)


def _saved(calibration: Calibration | None, folder: Path) -> Path | None:
    if calibration is None:
        return None
    (folder / ENDS_FILE).write_text(json.dumps(asdict(calibration.ends)))
    np.save(folder / "calibration.npy", calibration.inputs, allow_pickle=False)
    return folder / "calibration.npy"
