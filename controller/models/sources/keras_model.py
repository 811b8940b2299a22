"""A Keras file or a SavedModel becomes a model folder with an ONNX and a TFLite file made of it."""

import shutil
from pathlib import Path
from typing import Any

from controller.convert.signature import check_readable, read_signature
from controller.errors import UnusableModel
from controller.models.sources.base import Draft, ImportRequest, refuse_unused
from controller.models.sources.converting import check_same, made, query_shape, run, scratch_folder
from controller.models.sources.states import ends

OPSET = 18
SAVED_MODEL = "saved_model.pb"
_FILES = {"onnx": "model.onnx", "tflite": "model.tflite"}


def draft(request: ImportRequest, folder: Path) -> Draft:
    """Copy the model, and write `model.onnx` and `model.tflite`.

    Raises:
        ConverterMissing: The environment `tensorflow` is not installed.
        ConversionFailed: It cannot be read, brings code, or has no ONNX form.
        UnusableModel: What was made does not compute the same.
    """
    refuse_unused(request, "a Keras model or a SavedModel", "inputs")
    place = _copied(request.source, folder)
    shape = query_shape(request)
    request.progress("converting to ONNX and TFLite in the converter environment tensorflow")
    with scratch_folder(folder) as scratch:
        order = {"model": str(place), "opset": OPSET, "shape": list(shape) if shape else None, "names": {}}
        result = run("tensorflow", "keras_source", order, scratch)
        notes: list[str] = list(result["notes"])
        formats: dict[str, dict[str, Any]] = {}
        versions: dict[str, str] = {}
        for form, file in _FILES.items():
            if result[form] is None:
                continue
            one = made(result[form], scratch)
            try:
                check_same(form, one, scratch / result["queries"])
            except UnusableModel as exc:
                if form == "onnx":
                    raise
                notes.append(f"no TFLite file was kept: {exc}")
                continue
            shutil.move(one.path, folder / file)
            found = ends(read_signature(form, folder / file), request.source, None)
            formats[form] = {"file": file, **found.entry}
            versions |= one.versions
            notes += one.notes
    return Draft(formats, {"tensorflow": {"model": place.name}}, tuple(notes), versions)


def _copied(source: Path, folder: Path) -> Path:
    """Copy the model as it is; of a SavedModel, what it consists of."""
    if source.is_file():
        check_readable(source)
        return Path(shutil.copyfile(source, folder / source.name))
    for name in (SAVED_MODEL, *_parts(source)):
        part = source / name
        if part.is_symlink() or not part.resolve().is_relative_to(source.resolve()):
            raise UnusableModel(f"{part} leads out of the SavedModel's folder: refused")
    place = folder / "saved_model"
    shutil.copytree(source, place, ignore=lambda at, names: _unwanted(source, Path(at), names))
    return place


def _parts(source: Path) -> list[str]:
    return [
        path.relative_to(source).as_posix() for name in ("variables", "assets") for path in (source / name).rglob("*")
    ]


def _unwanted(source: Path, at: Path, names: list[str]) -> list[str]:
    kept = {SAVED_MODEL, "fingerprint.pb", "variables", "assets"}
    return [name for name in names if name not in kept] if at == source else []
