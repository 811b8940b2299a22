"""Check a model folder: every file loads, every number is one, and the samples fit; what was found is written down.

Decides: which models are refused. Leaves out: where a model comes from and where it goes (`importing.py`).

    check_model(ModelFolder.load(folder), folder)  # leaves facts.json
"""

import hashlib
import json
import shutil
import uuid
from pathlib import Path
from typing import Any

from controller.compress.process.start import PassFailed, run_step
from controller.convert.onnx_io import check_finite, check_onnx, onnx_signature, parse_onnx
from controller.convert.signature import Signature
from controller.errors import UnusableModel
from controller.models.card import CARD
from controller.models.folder import FILE_NAME, ModelFolder
from controller.models.samples import JUDGED, calibration_samples, evaluation_samples
from wire.spec import Pipeline, output_tensors

FACTS = "facts.json"


def check_model(model: ModelFolder, folder: Path, samples: Path | None = None) -> None:
    """Check every file of a model and its samples, and leave what was found in `facts.json`.

    Args:
        model: The folder's.
        folder: Gets `facts.json`.
        samples: The user's `.npz` that the folder's is a copy of: messages name it.
    Raises:
        UnusableModel: A file that ONNX's checker or its engine refuses, or that its pipeline does not fit.
        UnusableData: Samples that the model does not take.
    """
    facts: dict[str, Any] = {"content_sha256": _content_digest(folder), "formats": {}}
    for form in model.spec.formats:
        path = model.file(form)
        if form == "onnx":
            _check_onnx_file(path, is_text=model.takes_text)
        pipeline = model.pipeline(form)
        facts["formats"][form] = {
            "bytes": path.stat().st_size,
            "input": pipeline.pre.input.model_dump(mode="json"),
            "output": pipeline.post.output.model_dump(mode="json"),
            **_further(pipeline),
            **_inspected(form, path),
        }
    if model.spec.data is not None:
        facts["samples"] = _check_labelled(model, folder, samples)
    (folder / FACTS).write_text(json.dumps(facts, indent=2, sort_keys=True) + "\n")


def _further(pipeline: Pipeline) -> dict[str, Any]:
    """Return the outputs besides the first that post-processing reads."""
    further = output_tensors(pipeline.post)[1:]
    return {"further_outputs": [tensor.model_dump(mode="json") for tensor in further]} if further else {}


def _check_labelled(model: ModelFolder, folder: Path, named: Path | None) -> dict[str, int]:
    scratch = folder / ".samples"
    try:
        evaluation = len(evaluation_samples(model, scratch, named=named)) if model.kind in JUDGED else 0
        calibration = calibration_samples(model, scratch, named=named)
        return {"evaluation": evaluation, "calibration": len(calibration)}
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _check_onnx_file(path: Path, is_text: bool) -> None:
    model = parse_onnx(path)
    check_onnx(model, path)
    check_finite(model, path)
    if is_text:
        check_token_shapes(onnx_signature(model), path)
    else:
        check_shapes(onnx_signature(model), path)


def check_shapes(signature: Signature, path: Path) -> None:
    """Refuse a model whose input a bundle cannot describe.

    Raises:
        UnusableModel: Not one float input with a batch axis of 1 or free, or another axis is free.
    """
    source = signature.input()
    if source.dtype not in ("float32", "float16"):
        raise UnusableModel(
            f"{path}: the input {source.name!r} is {source.dtype}; import the float model, or a model of text as a "
            f"folder whose model.yaml says `pre.kind: text`"
        )
    if len(source.shape) < 2:
        raise UnusableModel(f"{path}: the input has shape {source.shape}; (batch, …) with two or more axes is needed")
    if source.shape[0] not in (-1, 1):
        raise UnusableModel(f"{path}: the batch is fixed at {source.shape[0]}; export with a free batch or with 1")
    if -1 in source.shape[1:]:
        raise UnusableModel(f"{path}: the input has shape {source.shape}; only the batch (first axis) may be free")


def check_token_shapes(signature: Signature, path: Path) -> None:
    """Refuse a model whose inputs are not numbers of tokens, of shape (batch, tokens).

    Raises:
        UnusableModel: One is of another type or shape, or its batch is fixed.
    """
    for source in signature.inputs:
        if source.dtype not in ("int32", "int64"):
            raise UnusableModel(f"{path}: tokens are int32 or int64, the input {source.name!r} is {source.dtype}")
        if len(source.shape) != 2 or source.shape[0] not in (-1, 1):
            raise UnusableModel(
                f"{path}: the input {source.name!r} has shape {source.shape}; (batch, tokens) with a free batch or 1 "
                f"is needed"
            )


def _inspected(form: str, path: Path) -> dict[str, Any]:
    """Load the file in its engine, in a process of its own, and count what it holds."""
    scratch = path.parent / f".inspect-{uuid.uuid4().hex}"
    scratch.mkdir()
    try:
        found = run_step({"do": "inspect", "format": form, "path": str(path)}, scratch, "inspect")
    except PassFailed as exc:
        raise UnusableModel(f"{path.name} does not load: {exc.because}") from exc
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return {key: found[key] for key in ("parameters", "macs", "operators", "uncounted")}


def _content_digest(folder: Path) -> str:
    """Digest of every file but the card and the facts, which are made from them; the version line is left out."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        relative = path.relative_to(folder).as_posix()
        if relative in (FACTS, CARD) or relative.startswith("."):
            continue
        digest.update(f"{relative}\0".encode() + _without_version(path))
    return digest.hexdigest()


def _without_version(path: Path) -> bytes:
    content = path.read_bytes()
    if path.name != FILE_NAME:
        return hashlib.sha256(content).digest()
    return b"\n".join(line for line in content.splitlines() if not line.startswith(b"version:"))
