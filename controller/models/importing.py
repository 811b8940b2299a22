"""Import a model: a bare ONNX file with an `.npz`, or a whole model folder, into the workspace.

Decides: the folder that is made for a bare file, and which version a model gets. Leaves out: which models are refused
(`checking.py`). The folder appears by one rename: a killed import leaves nothing.

    import_model(ImportRequest(Path("my.onnx"), name="my", samples=Path("my.npz")), workspace / "models")
"""

import json
import os
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from controller.bundle.atomic import sweep_unfinished, unfinished_folder
from controller.convert.onnx_io import check_onnx, onnx_signature, parse_onnx
from controller.convert.signature import LARGEST_MODEL_BYTES, check_readable
from controller.errors import ConfigurationError, UnusableData, UnusableModel
from controller.models.card import write_card
from controller.models.catalogue import list_models
from controller.models.checking import FACTS, check_model, check_shapes
from controller.models.folder import FILE_NAME, ModelFolder, NpzSamples
from controller.models.npz import read_npz
from wire.base import Name
from wire.spec import Kind

__all__ = ["FACTS", "ImportRequest", "import_model"]

Arrays = Mapping[str, NDArray[Any]]
_NAME: TypeAdapter[str] = TypeAdapter(Name)


@dataclass(frozen=True)
class ImportRequest:
    """What to import.

    For a folder only `source` counts; `name`, `samples`, `kind` and `labels` describe a bare file.
    """

    source: Path
    name: str | None = None
    samples: Path | None = None
    kind: Kind | None = None
    labels: tuple[str, ...] = ()


def import_model(request: ImportRequest, models_root: Path) -> ModelFolder:
    """Check a model and keep it in the workspace.

    Args:
        request: An `.onnx` file or a folder with a `model.yaml`.
        models_root: Gets `{name}/{version}/`.
    Returns:
        The imported model; the one that is there already where the content is the same.
    Raises:
        UnusableModel: It does not load, has NaN weights, another number of inputs, a shape that is not fixed, …
        UnusableData: The samples are missing, empty, or not what the model takes.
        ConfigurationError: The folder's `model.yaml` does not follow the schema.
        DiskFull: No room.
    """
    if request.source.is_dir():
        given = ModelFolder.load(request.source)
        samples = request.source / given.spec.data.npz if isinstance(given.spec.data, NpzSamples) else None
        return _placed(models_root, lambda folder: _copy_folder(request.source, folder), samples, versioned=True)
    if request.source.suffix != ".onnx":
        raise UnusableModel(f"{request.source}: an .onnx file or a folder with a {FILE_NAME} can be imported")
    return _placed(models_root, lambda folder: _make_folder(request, folder), request.samples, versioned=False)


def _placed(models_root: Path, fill: Callable[[Path], None], samples: Path | None, *, versioned: bool) -> ModelFolder:
    """Fill a folder of another name, check it, and rename it to its place."""
    models_root.mkdir(parents=True, exist_ok=True)
    sweep_unfinished(models_root)
    with unfinished_folder(models_root) as partial:
        fill(partial)
        model = ModelFolder.load(partial)
        check_model(model, partial, samples)
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
    ignore = shutil.ignore_patterns("__pycache__", "*.pyc", ".*", FACTS)
    shutil.copytree(source, folder, dirs_exist_ok=True, ignore=ignore)


def _make_folder(request: ImportRequest, folder: Path) -> None:
    """Write `model.yaml` for a bare ONNX file; weights in files beside it are taken in."""
    import onnx

    check_readable(request.source)
    model = parse_onnx(request.source)
    check_onnx(model, request.source)
    signature = onnx_signature(model)
    check_shapes(signature, request.source)
    if model.ByteSize() > LARGEST_MODEL_BYTES:
        raise UnusableModel(f"{request.source}: more than {LARGEST_MODEL_BYTES} bytes with its external weights")
    name = _name(request)
    onnx.save(model, folder / "model.onnx")
    arrays = read_npz(request.samples) if request.samples is not None else {}
    kind = request.kind or _guessed_kind(request, arrays)
    document: dict[str, Any] = {
        "schema": 1,
        "name": name,
        "version": "1",
        "kind": kind,
        "formats": {"onnx": {"file": "model.onnx", "input": signature.input().name, "output": signature.output().name}},
        "pre": {"kind": "tensor"},
        "post": _post(kind, request.labels),
    }
    if request.samples is not None:
        document["data"] = {"npz": "samples.npz", **_calibrating(arrays, request.samples)}
        shutil.copyfile(request.samples, folder / "samples.npz")
    (folder / FILE_NAME).write_text(yaml.safe_dump(document, sort_keys=False))


def _name(request: ImportRequest) -> str:
    """Return the model's name: as given, else made from the file's.

    Raises:
        ConfigurationError: A name that cannot stand in a path and on a command line.
    """
    name = request.name or re.sub(r"[^a-z0-9._-]+", "-", request.source.stem.lower()).strip("._-")
    try:
        return _NAME.validate_python(name)
    except ValidationError as exc:
        raise ConfigurationError(
            f"{name!r} is no name for a model: use a-z, 0-9, '.', '_' and '-', at most 63 characters (--name)"
        ) from exc


def _post(kind: Kind, labels: tuple[str, ...]) -> dict[str, Any]:
    if kind == "regression":
        return {"kind": "regression", **({"names": list(labels)} if labels else {})}
    return {"kind": "classification", "activation": "softmax", **({"labels": list(labels)} if labels else {})}


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
