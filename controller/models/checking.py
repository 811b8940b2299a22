"""Check a model folder: every file loads, every number is one, and the samples fit; what was found is written down.

Decides: which models are refused. Leaves out: where a model comes from and where it goes (`importing.py`).

    check_model(ModelFolder.load(folder), folder)  # leaves facts.json
"""

import hashlib
import json
import shutil
import uuid
from collections.abc import Collection
from pathlib import Path
from typing import Any

from controller.compress.process.start import PassFailed, run_step
from controller.convert.conversion import FOLDER as CONVERSIONS
from controller.convert.onnx_io import check_finite, check_onnx, parse_onnx
from controller.convert.operators import file_precision
from controller.convert.signature import Signature, read_signature
from controller.convert.tflite import check_finite as check_finite_tflite
from controller.errors import UnusableModel
from controller.models.card import CARD
from controller.models.folder import FILE_NAME, ModelFolder
from controller.models.preprocess.text import check_tokeniser
from controller.models.queries import WHOLE_TENSORS
from controller.models.samples import calibration_samples, can_be_judged, evaluation_samples
from controller.models.sources.base import Origin
from controller.models.sources.engines import check_runnable, findings
from wire.spec import Pipeline, TextPre, output_tensors

FACTS = "facts.json"
REALS = ("float32", "float16", "int8", "uint8")
"""Types of an input that stand for real numbers, those of 8 bits by their quantisation."""


def check_model(model: ModelFolder, folder: Path, samples: Path | None = None, origin: Origin | None = None) -> None:
    """Check every file of a model and its samples, and leave what was found in `facts.json`.

    Args:
        model: The folder's.
        folder: Gets `facts.json`.
        samples: The user's `.npz` that the folder's is a copy of: messages name it.
        origin: What the folder was made of, where it was made for a bare source.
    Raises:
        UnusableModel: A file that ONNX's checker or every engine refuses, or that its pipeline does not fit.
        UnusableData: Samples that the model does not take.
    """
    facts: dict[str, Any] = {"content_sha256": _content_digest(folder), "formats": {}}
    for form, entry in model.spec.formats.items():
        path = model.file(form)
        _check_file(model, form, path, entry.state)
        pipeline = model.pipeline(form)
        if isinstance(pipeline.pre, TextPre):
            check_tokeniser(pipeline.pre, model.inside(pipeline.pre.tokeniser, "pre.tokeniser"))
        facts["formats"][form] = {
            "bytes": path.stat().st_size,
            "precision": file_precision(form, path),
            **_signature(pipeline),
        }
    found = findings(model, folder)
    check_runnable(found, model)
    facts["engines"] = {engine: one.as_json() for engine, one in found.items()}
    for form in facts["formats"]:
        facts["formats"][form] |= _inspected(form, model.file(form))
    if origin is not None:
        facts["origin"] = origin.as_json()
    if model.spec.data is not None:
        facts["samples"] = _check_labelled(model, folder, samples)
    (folder / FACTS).write_text(json.dumps(facts, indent=2, sort_keys=True) + "\n")


def _signature(pipeline: Pipeline) -> dict[str, Any]:
    """Return the tensors that pre- and post-processing name, and in which order the input's axes stand."""
    further = output_tensors(pipeline.post)[1:]
    return {
        "input": pipeline.pre.input.model_dump(mode="json"),
        "layout": getattr(pipeline.pre, "layout", None),
        "output": pipeline.post.output.model_dump(mode="json"),
        **({"further_outputs": [tensor.model_dump(mode="json") for tensor in further]} if further else {}),
        **({"state": [tensor.model_dump(mode="json") for tensor in pipeline.state]} if pipeline.state else {}),
    }


def _check_labelled(model: ModelFolder, folder: Path, named: Path | None) -> dict[str, int]:
    scratch = folder / ".samples"
    try:
        judged = can_be_judged(model, scratch, named=named)
        evaluation = len(evaluation_samples(model, scratch, named=named)) if judged else 0
        calibration = calibration_samples(model, scratch, named=named)
        return {"evaluation": evaluation, "calibration": len(calibration)}
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _check_file(model: ModelFolder, form: str, path: Path, state: Collection[str]) -> None:
    """Check what can be read of a file without an engine. `state`: inputs that no query goes into."""
    if form == "onnx":
        parsed = parse_onnx(path)
        check_onnx(parsed, path)
        check_finite(parsed, path)
    elif form == "tflite":
        check_finite_tflite(path)
    else:
        return
    signature = read_signature(form, path)
    if model.takes_text:
        check_token_shapes(signature, path)
        return
    queries = tuple(tensor for tensor in signature.inputs if tensor.name not in state)
    dtypes = REALS + WHOLE_TENSORS if model.spec.pre.get("kind") == "tensor" else REALS
    check_shapes(Signature(queries, signature.outputs), path, dtypes)


def check_shapes(signature: Signature, path: Path, dtypes: tuple[str, ...] = REALS + WHOLE_TENSORS) -> None:
    """Refuse a model whose input a bundle cannot describe.

    Raises:
        UnusableModel: Not one input of these dtypes with a batch axis of 1 or free, or another axis is free.
    """
    source = signature.input()
    if source.dtype not in dtypes:
        raise UnusableModel(
            f"{path}: the input {source.name!r} is {source.dtype}, expected is one of {', '.join(dtypes)}; import the "
            f"float model, or a model of text as a folder whose model.yaml says `pre.kind: text`, and one of other "
            f"whole numbers as one that says `pre.kind: tensor`"
        )
    if len(source.shape) < 2:
        raise UnusableModel(f"{path}: the input has shape {source.shape}; (batch, …) with two or more axes is needed")
    if source.shape[0] not in (-1, 1):
        raise UnusableModel(f"{path}: the batch is fixed at {source.shape[0]}; export with a free batch or with 1")
    if -1 in source.shape[1:]:
        sizes = ",".join("SIZE" if size == -1 else str(size) for size in source.shape[1:])
        raise UnusableModel(
            f"{path}: the input has shape {source.shape}; only the batch (first axis) may be free. Fix the others as "
            f"an .onnx file is imported: --shape {source.name}=1,{sizes}"
        )


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
    if form not in ("onnx", "tflite"):
        return {"parameters": None, "macs": None, "operators": {}, "uncounted": []}
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
    """Digest of every file but what is made from them: card, facts, conversions; the version line is left out."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        relative = path.relative_to(folder).as_posix()
        if relative in (FACTS, CARD) or relative.startswith((".", f"{CONVERSIONS}/")):
            continue
        digest.update(f"{relative}\0".encode() + _without_version(path))
    return digest.hexdigest()


def _without_version(path: Path) -> bytes:
    content = path.read_bytes()
    if path.name != FILE_NAME:
        return hashlib.sha256(content).digest()
    return b"\n".join(line for line in content.splitlines() if not line.startswith(b"version:"))
