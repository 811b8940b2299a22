"""Import a model: a file of any of the known sources with an `.npz`, or a whole model folder, into the workspace.

Decides: which source a path is, the model.yaml that is made for a bare one, and which version a model gets. Leaves out:
what a source becomes (`sources/`) and which models are refused (`checking.py`). The folder appears by one rename: a
killed import leaves nothing.

    import_model(ImportRequest(Path("my.onnx"), name="my", samples=Path("my.npz")), workspace / "models")
"""

import importlib
import json
import os
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from controller.bundle.atomic import sweep_unfinished, unfinished_folder
from controller.convert.onnx_io import external_files, parse_onnx
from controller.errors import ConfigurationError, NotFound, UnusableData, UnusableModel
from controller.models.card import write_card
from controller.models.catalogue import list_models
from controller.models.checking import FACTS, check_model
from controller.models.folder import FILE_NAME, ModelFolder
from controller.models.labels.declared import NpzSamples
from controller.models.npz import read_npz
from controller.models.sources.answers import finished_by
from controller.models.sources.base import Draft, ImportRequest, Origin, refuse_descriptions, refuse_unused
from wire.base import Name
from wire.spec import Kind

__all__ = ["FACTS", "ImportRequest", "import_model"]

Arrays = Mapping[str, NDArray[Any]]
_NAME: TypeAdapter[str] = TypeAdapter(Name)
_MODULE = re.compile(r".+\.py:[A-Za-z_]\w*")
_SOURCES: dict[str, tuple[str, str]] = {
    ".onnx": ("onnx_file", "draft"),
    ".tflite": ("tflite_file", "draft"),
    ".lite": ("tflite_file", "draft"),
    ".pt2": ("torch_module", "draft_program"),
    ".keras": ("keras_model", "draft"),
    ".h5": ("keras_model", "draft"),
    ".hdf5": ("keras_model", "draft"),
}
"""Suffix -> module of `sources`, and its function."""
_KNOWN = (
    "an .onnx file, a .tflite file, a PyTorch module as FILE.py:FUNCTION with --state, an exported program (.pt2), a "
    f"Keras model (.keras, .h5), the folder of a SavedModel, or a folder with a {FILE_NAME} can be imported"
)
_HINTS = {
    (".pt", ".pth", ".bin", ".safetensors"): "weights alone are no model: name the module that they belong to, "
    "FILE.py:FUNCTION, and them with --state",
    (".py",): "name the function in it that makes the network: FILE.py:FUNCTION",
    (".pb", ".pbtxt"): "name the folder of the SavedModel, not a file in it",
    (".pte", ".mlpackage", ".mlmodel", ".engine", ".plan"): "such a file is made for one engine; import what it was "
    "made of, and let `controller model convert` make it again",
}


def import_model(request: ImportRequest, models_root: Path) -> ModelFolder:
    """Check a model and keep it in the workspace.

    Args:
        request: A source, and what describes it where it has no model.yaml.
        models_root: Gets `{name}/{version}/`.
    Returns:
        The imported model; the one that is there already where the content is the same.
    Raises:
        UnusableModel: It does not load, has NaN weights, another number of inputs, a shape that is not fixed, …
        UnusableData: The samples are missing, empty, or not what the model takes.
        ConfigurationError: The folder's `model.yaml` does not follow the schema, or an option does not fit the source.
        ConverterMissing: The source needs a converter environment that is not installed.
        ConversionFailed: A converter refused it, crashed, hung or took too much memory.
        DiskFull: No room.
    """
    source = request.source
    if source.is_dir() and not (source / "saved_model.pb").is_file():
        refuse_unused(request, "a model folder")
        refuse_descriptions(request)
        given = ModelFolder.load(source)
        samples = source / given.spec.data.npz if isinstance(given.spec.data, NpzSamples) else None
        return _placed(models_root, lambda folder: _copy_folder(source, folder), samples, versioned=True)
    draft = _source(source)
    return _placed(models_root, lambda folder: _make_folder(request, draft, folder), request.samples, versioned=False)


def _source(path: Path) -> Callable[[ImportRequest, Path], Draft]:
    """Return what reads a source of this kind.

    Raises:
        UnusableModel: No kind that is known; the text lists those that are.
    """
    if _MODULE.fullmatch(path.name):
        named = ("torch_module", "draft_module")
    elif path.is_dir():
        named = ("keras_model", "draft")
    elif path.suffix in _SOURCES:
        named = _SOURCES[path.suffix]
    else:
        hints = [text for suffixes, text in _HINTS.items() if path.suffix in suffixes]
        raise UnusableModel(f"{path}: {hints[0] if hints else _KNOWN}")
    if not path.exists() and named[1] != "draft_module":
        raise NotFound(f"{path}: no such file; {_KNOWN}")
    module, function = named
    found: Callable[[ImportRequest, Path], Draft] = getattr(
        importlib.import_module(f"controller.models.sources.{module}"), function
    )
    return found


def _placed(
    models_root: Path, fill: Callable[[Path], Origin | None], samples: Path | None, *, versioned: bool
) -> ModelFolder:
    """Fill a folder of another name, check it, and rename it to its place."""
    models_root.mkdir(parents=True, exist_ok=True)
    sweep_unfinished(models_root)
    with unfinished_folder(models_root) as partial:
        origin = fill(partial)
        model = ModelFolder.load(partial)
        check_model(model, partial, samples, origin)
        return _settled(model, partial, models_root, versioned)


def _settled(model: ModelFolder, partial: Path, models_root: Path, versioned: bool) -> ModelFolder:
    """Move the checked folder to `{name}/{version}`; a bare file gets the next number."""
    content = json.loads((partial / FACTS).read_bytes())["content_sha256"]
    versions = [one for one in list_models(models_root) if one.name == model.name]
    for known in versions:
        if _kept_content(known) == content:
            return known
    version = (
        model.version if versioned else str(1 + max([int(v.version) for v in versions if v.version.isdigit()] or [0]))
    )
    place = models_root / model.name / version
    if place.exists():
        raise UnusableModel(
            f"{model.name}@{version} is imported with other content; raise `version` in its {FILE_NAME}"
        )
    if version != model.version:
        _set_version(partial / FILE_NAME, version)
    write_card(ModelFolder.load(partial), json.loads((partial / FACTS).read_bytes()))
    place.parent.mkdir(parents=True, exist_ok=True)
    os.replace(partial, place)
    return ModelFolder.load(place)


def _copy_folder(source: Path, folder: Path) -> None:
    """Copy a model folder; weights in files beside its ONNX file are taken into that."""
    ignore = shutil.ignore_patterns("__pycache__", "*.pyc", ".*", FACTS)
    shutil.copytree(source, folder, dirs_exist_ok=True, ignore=ignore)
    model = ModelFolder.load(folder)
    if "onnx" not in model.spec.formats:
        return
    path = model.file("onnx")
    whole = parse_onnx(path)
    if files := external_files(path):
        import onnx

        onnx.save(whole, path)
        for file in files:
            file.unlink(missing_ok=True)


def _make_folder(request: ImportRequest, draft: Callable[[ImportRequest, Path], Draft], folder: Path) -> Origin:
    """Write the source's files and a `model.yaml` that names them; return where they come from."""
    name = _name(request)
    arrays = read_npz(request.samples) if request.samples is not None else {}
    kind = request.kind or _guessed_kind(request, arrays)
    made = draft(request, folder)
    post, notes = _post(request, kind, made, folder)
    document: dict[str, Any] = {
        "schema": 1,
        "name": name,
        "version": "1",
        "kind": kind,
        "formats": {form: dict(entry) for form, entry in made.formats.items()},
        **{key: dict(entry) for key, entry in made.original.items()},
        "pre": {"kind": "tensor"},
        "post": post,
    }
    if request.samples is not None:
        document["data"] = {"npz": "samples.npz", **_calibrating(arrays, request.samples)}
        shutil.copyfile(request.samples, folder / "samples.npz")
    (folder / FILE_NAME).write_text(yaml.safe_dump(document, sort_keys=False))
    return Origin(request.source.name, (*made.notes, *notes), made.made_by)


def _name(request: ImportRequest) -> str:
    """Return the model's name: as given, else made from the file's.

    Raises:
        ConfigurationError: A name that cannot stand in a path and on a command line.
    """
    name = request.name or re.sub(r"[^a-z0-9._-]+", "-", request.stem.lower()).strip("._-")
    try:
        return _NAME.validate_python(name)
    except ValidationError as exc:
        raise ConfigurationError(
            f"{name!r} is no name for a model: use a-z, 0-9, '.', '_' and '-', at most 63 characters (--name)"
        ) from exc


def _post(request: ImportRequest, kind: Kind, made: Draft, folder: Path) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return `post` of model.yaml, and what to tell of it.

    Raises:
        ConfigurationError: An activation for something else than classes.
    """
    names = list(request.labels)
    if kind != "classification":
        if request.activation:
            raise ConfigurationError(f"--activation makes probabilities of scores, and the model's kind is {kind}")
        return {"kind": kind, **({"names": names} if names else {})}, ()
    last = None if request.activation else _last_activation(made, folder)
    activation = request.activation or ("none" if last else "softmax")
    notes = (f"it ends in {last}: what it gives counts as probabilities (post.activation: none)",) if last else ()
    return {"kind": kind, "activation": activation, **({"labels": names} if names else {})}, notes


def _last_activation(made: Draft, folder: Path) -> str | None:
    found = (finished_by(form, folder / entry["file"], entry["output"]) for form, entry in made.formats.items())
    return next((name for name in found if name is not None), None)


def _calibrating(arrays: Arrays, source: Path) -> dict[str, str]:
    """Tell which of the arrays calibrate.

    Raises:
        UnusableData: No `inputs` or no `labels`.
    """
    missing = {"inputs", "labels"} - arrays.keys()
    if missing:
        raise UnusableData(f"{source}: no array {sorted(missing)[0]!r}; it has {', '.join(sorted(arrays)) or 'none'}")
    separate = {"train_inputs", "train_labels"} <= arrays.keys()
    return {"train_inputs": "train_inputs", "train_labels": "train_labels"} if separate else {}


def _guessed_kind(request: ImportRequest, arrays: Arrays) -> Kind:
    """Labels that are whole numbers mean classes."""
    if request.labels or "labels" not in arrays:
        return "classification"
    return "regression" if arrays["labels"].dtype.kind == "f" else "classification"


def _set_version(path: Path, version: str) -> None:
    lines = [f"version: '{version}'" if line.startswith("version:") else line for line in path.read_text().splitlines()]
    path.write_text("\n".join(lines) + "\n")


def _kept_content(model: ModelFolder) -> str:
    facts = model.root / FACTS
    return str(json.loads(facts.read_bytes()).get("content_sha256", "")) if facts.is_file() else ""
