"""Which engines of this machine run a model's files, found by loading and running each file in each of them.

Decides: what is said of an engine that is not here, and how an engine's own words become a reason. Every try is a
process of its own, the agent's code in it: an engine that crashes on a file has said something too.

    findings(ModelFolder.load(folder), folder)["litert"].because  # "has no operator FlexErf"
"""

import re
import shutil
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from controller.compress.process.start import PassFailed, run_child
from controller.compress.variant import ENGINES_OF
from controller.convert.making.routes import find_route
from controller.convert.signature import read_signature
from controller.errors import UnusableModel
from controller.models.folder import ModelFolder

_LACKING = (
    re.compile(r"Could not find an implementation for (?P<name>\w+)\((?P<version>\d+)\)"),
    # From the beginning of a word alone: a message of one long word would be tried from each of its letters.
    re.compile(r"(?<![\w.])(?P<name>[\w.]+(?::\w+)?)\(-?\d+\) is not a registered function/op"),
    re.compile(r"unresolved custom op: (?P<name>[\w:]+)"),
    re.compile(r"Op builtin_code out of range: (?P<name>\d+)"),
    re.compile(r"Didn't find op for builtin opcode '(?P<name>\w+)' version '(?P<version>\d+)'"),
    re.compile(r"No Op registered for (?P<name>\w+)"),
)
_INSTEAD = {
    "onnx": "Export it with operators of that opset, or import it as TFLite or from its PyTorch or Keras source",
    "tflite": "Convert it with TFLite's own operators alone, or import it as ONNX",
    "executorch": "Lower it again with the release of ExecuTorch that is installed here",
}


@dataclass(frozen=True)
class Finding:
    """What is known of one engine and a model. runs: null where it was not tried. because: why not, else null."""

    format: str
    runs: bool | None
    version: str | None = None
    because: str | None = None

    def as_json(self) -> dict[str, Any]:
        return {"format": self.format, "runs": self.runs, "version": self.version, "because": self.because}


def findings(model: ModelFolder, scratch: Path) -> dict[str, Finding]:
    """Return what each engine makes of the model's files.

    Args:
        model: Its files are tried.
        scratch: An existing folder, for as long as this lasts.
    """
    found = {}
    for form, engines in ENGINES_OF.items():
        for engine in engines:
            there = form in model.spec.formats
            found[engine] = _tried(engine, form, model.file(form), scratch) if there else _no_file(form, model)
    return found


def check_runnable(found: Mapping[str, Finding], model: ModelFolder) -> None:
    """Refuse a model with a file that was tried and that nothing here runs.

    Raises:
        UnusableModel: Every engine's reason, and what would run.
    """
    for form in model.spec.formats:
        tried = {engine: one for engine, one in found.items() if one.format == form}
        if tried and not any(one.runs for one in tried.values()) and any(one.runs is False for one in tried.values()):
            said = "; ".join(f"{engine}: {one.because}" for engine, one in tried.items())
            name = model.file(form).name
            raise UnusableModel(f"{name}: no engine here runs it ({said}). {_INSTEAD[form]}")


def _no_file(form: str, model: ModelFolder) -> Finding:
    """Tell how a file of this format can be made of the model, or why none can."""
    try:
        find_route(model.sources(), form, "float")
    except UnusableModel as exc:
        return Finding(form, None, because=f"it runs {form}, of which there is no file: {exc}")
    command = f"`controller model convert {model.name} --to {form}` makes one"
    return Finding(form, None, because=f"it runs {form}, of which there is no file; {command}")


def _tried(engine: str, form: str, path: Path, scratch: Path) -> Finding:
    """Load and run the file once, on zeros."""
    folder = scratch / f".try-{uuid.uuid4().hex}"
    folder.mkdir()
    order = {"engine": engine, "options": {}, "model": str(path), "shapes": _shapes(form, path)}
    try:
        said = run_child("agent.measure.attempt", order, folder, engine)
    except PassFailed as exc:
        return Finding(form, False, because=f"{exc.because} on this file")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if said["outcome"] == "missing":
        return Finding(form, None, because="not tried here: not installed")
    if said["outcome"] != "ok":
        return Finding(form, False, because=reason(said["error"]))
    return Finding(form, True, said["version"])


def reason(error: str) -> str:
    """Return what an engine's error means: the operator that it lacks, where it says so."""
    for pattern in _LACKING:
        if match := pattern.search(error):
            version = match.groupdict().get("version")
            of = f" of version {version}" if version else ""
            return f"it has no operator {match['name'].removeprefix('Flex')}{of} ({_told(error)})"
    return _told(error)


def _told(error: str) -> str:
    text = " ".join(error.split())
    return text if len(text) <= 300 else f"{text[:300]} …"


def _shapes(form: str, path: Path) -> dict[str, list[int]]:
    """Return sizes for inputs with free axes: 1 each."""
    return {tensor.name: [max(1, size) for size in tensor.shape] for tensor in read_signature(form, path).inputs}
