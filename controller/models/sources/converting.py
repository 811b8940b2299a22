"""Sources that an engine does not read: made into ONNX in a converter environment, and compared with what they compute.

Decides: the queries on which both are compared, and that a file which computes something else is not imported. Leaves
out: the converters (`controller/convert/workers`) and the limits (`controller/convert/parity.py`).
"""

import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from controller.compress.process.start import PassFailed, run_child
from controller.compress.variant import ENGINE_OF
from controller.convert.environments import required, run_worker
from controller.convert.parity import LIMITS, compare, fault
from controller.convert.signature import read_signature
from controller.errors import ConfigurationError, ConversionFailed, UnusableModel
from controller.models.npz import read_npz
from controller.models.sources.base import ImportRequest, Shape
from controller.models.sources.states import ends

COMPARED_QUERIES = 8
SEED = 2017


@dataclass(frozen=True)
class Made:
    """One file that a converter made. source_outputs: `.npy` of what the source computes for `queries`."""

    path: Path
    source_outputs: Path
    versions: Mapping[str, str]
    notes: tuple[str, ...]


@contextmanager
def scratch_folder(folder: Path) -> Iterator[Path]:
    """Give a folder beside the model's files; it is gone afterwards."""
    scratch = folder / f".convert-{uuid.uuid4().hex}"
    scratch.mkdir()
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def query_shape(request: ImportRequest) -> Shape | None:
    """Return the shape of one query, without its batch: as given, else that of the samples; null where neither is.

    Raises:
        ConfigurationError: More than one input, or one of another type than float32.
    """
    if len(request.inputs) > 1:
        raise ConfigurationError("--input: a query goes into one input; give the shape of that one")
    if request.inputs:
        given = request.inputs[0]
        if given.dtype != "float32" or len(given.sizes) < 2:
            raise ConfigurationError("--input: (batch, …) of float32 is converted, e.g. --input 1,1,28,28")
        return given.sizes[1:]
    arrays = read_npz(request.samples) if request.samples is not None else {}
    return tuple(arrays["inputs"].shape[1:]) if "inputs" in arrays else None


def write_queries(shape: Shape, path: Path) -> Path:
    """Write the made-up queries on which source and file are compared."""
    queries = np.random.default_rng(SEED).normal(size=(COMPARED_QUERIES, *shape)).astype(np.float32)
    np.save(path, queries, allow_pickle=False)
    return path


def run(environment: str, worker: str, order: Mapping[str, Any], scratch: Path) -> dict[str, Any]:
    """Run a worker and return its result.

    Raises:
        ConverterMissing: The environment is not installed; the text names the command.
        ConversionFailed: The worker crashed, was killed at a limit, or says that it cannot convert this model.
    """
    result = run_worker(required(environment), worker, {**order, "folder": str(scratch)}, scratch)
    if result["outcome"] != "ok":
        raise ConversionFailed(str(result["error"]))
    return result


def made(result: Mapping[str, Any], scratch: Path) -> Made:
    """Return what a worker's result says of its file."""
    outputs = scratch / result["source_outputs"][0]
    return Made(scratch / result["file"], outputs, result["versions"], tuple(result["notes"]))


def check_same(form: str, one: Made, queries: Path) -> None:
    """Refuse a file that does not compute what its source does.

    Raises:
        UnusableModel: The engine refuses it, or its outputs lie too far from the source's; the text has the numbers.
    """
    found = ends(read_signature(form, one.path), one.path, None).entry
    outputs = one.path.parent / f"{form}-outputs.npy"
    order = {"engine": ENGINE_OF[form], "options": {}, "model": str(one.path), "shapes": {}, "query": str(queries),
             "outputs": str(outputs), "input": found["input"], "output": found["output"]}  # fmt: skip
    try:
        said = run_child("agent.measure.attempt", order, one.path.parent, ENGINE_OF[form])
    except PassFailed as exc:
        raise UnusableModel(f"the {form} file made of it: {exc.because}") from exc
    if said["outcome"] != "ok":
        raise UnusableModel(f"the {form} file made of it is refused: {said['error']}")
    try:
        far = fault(compare(np.load(one.source_outputs), np.load(outputs), "regression"), LIMITS[(form, "float")])
    except ValueError as exc:
        raise UnusableModel(f"the {form} file made of it computes something else: {exc}") from exc
    if far:
        raise UnusableModel(f"the {form} file made of it computes something else: {far}")
