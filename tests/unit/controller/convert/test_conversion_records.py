"""Conversions in a model's folder: which are offered, and why others are not."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from controller.convert.conversion import Conversion, file_digest, files_digest, write_record
from controller.convert.parity import Parity
from controller.errors import UnusableModel
from controller.models.checking import check_model
from controller.models.folder import ModelFolder
from tests.unit.controller.compress.small_models import MODEL_YAML, write_folder
from tests.unit.controller.compress.small_tflite import FEATURES, write_tflite

TABLE = """\
schema: 1
name: rows
version: "1"
kind: regression
formats:
  onnx: {file: rows.onnx}
torch: {factory: "net.py:build", state: rows.safetensors}
pre: {kind: table, features: 16}
post: {kind: regression}
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A model of torch and ONNX; its files are never run here."""
    (tmp_path / "model.yaml").write_text(TABLE)
    for name in ("rows.onnx", "net.py", "rows.safetensors"):
        (tmp_path / name).write_bytes(name.encode())
    return tmp_path


def put(root: Path, target: str = "tflite", precision: str = "float", **changes: Any) -> Path:
    """Write a conversion as `convert` leaves it; return its folder."""
    folder = root / "conversions" / f"{target}-{precision}"
    folder.mkdir(parents=True)
    path = write_tflite(folder / "model.tflite")
    given: dict[str, Any] = {
        "target": target,
        "precision": precision,
        "format": "onnx" if target == "tensorrt" else target,
        "engine": "litert",
        "source": "torch",
        "source_sha256": files_digest((root / "net.py", root / "rows.safetensors")),
        "file": path.name,
        "sha256": file_digest(path),
        "bytes": path.stat().st_size,
        "parity": Parity(120.0, None, 1e-6, 128),
        "took_s": 1.0,
    }
    write_record(Conversion(**{**given, **changes}), folder)
    return folder


def test_a_float_conversion_serves_as_the_models_file(root: Path) -> None:
    folder = put(root)
    model = ModelFolder.load(root)
    assert list(model.formats) == ["tflite", "onnx"]
    assert model.file("tflite") == folder / "model.tflite"
    assert model.pipeline("tflite").pre.input.shape == (1, FEATURES)
    assert model.converted("tflite", "float").path == folder / "model.tflite"
    assert model.baseline_format == "onnx"


def test_what_model_yaml_names_comes_first(root: Path) -> None:
    put(root, "onnx", file="model.tflite")
    assert ModelFolder.load(root).file("onnx") == root / "rows.onnx"


@pytest.mark.parametrize(("target", "precision"), [("tflite", "int8"), ("tensorrt", "fp16")])
def test_other_precisions_are_no_format_of_the_model_and_can_be_asked_for(
    root: Path, target: str, precision: str
) -> None:
    put(root, target, precision)
    model = ModelFolder.load(root)
    assert list(model.formats) == ["onnx"]
    assert model.converted(target, precision).conversion.precision == precision
    with pytest.raises(UnusableModel, match="rows@1 has no tflite file; it has onnx"):
        model.file("tflite")


def harmed(folder: Path, _root: Path) -> None:
    path = folder / "model.tflite"
    path.write_bytes(path.read_bytes()[:-1] + b"!")


def lost(folder: Path, _root: Path) -> None:
    (folder / "model.tflite").unlink()


def trained_again(_folder: Path, root: Path) -> None:
    (root / "rows.safetensors").write_bytes(b"other weights")


def source_lost(_folder: Path, root: Path) -> None:
    (root / "net.py").unlink()


def no_torch(_folder: Path, root: Path) -> None:
    path = root / "model.yaml"
    path.write_text("\n".join(line for line in path.read_text().splitlines() if not line.startswith("torch")))


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (harmed, "not the file that was converted"),
        (lost, "not the file that was converted"),
        (trained_again, "torch source is no longer what this was made of; convert it again"),
        (source_lost, "no longer what this was made of"),
        (no_torch, "no longer what this was made of"),
    ],
)
def test_a_conversion_counts_no_longer(root: Path, harm: Any, says: str) -> None:
    folder = put(root)
    harm(folder, root)
    model = ModelFolder.load(root)
    assert list(model.formats) == ["onnx"]
    assert says in str(model.conversions()[0].because)
    with pytest.raises(UnusableModel, match="never deployed"):
        model.converted("tflite", "float")


def test_a_flagged_conversion_is_kept_and_never_offered(root: Path) -> None:
    put(root, flagged="its outputs reach 3.0 dB")
    model = ModelFolder.load(root)
    assert [kept.because for kept in model.conversions()] == ["its outputs reach 3.0 dB"]
    assert "tflite" not in model.formats
    with pytest.raises(UnusableModel, match=r"tflite-float: never deployed: its outputs reach 3.0 dB"):
        model.converted("tflite", "float")
    with pytest.raises(UnusableModel, match="no tflite file"):
        model.pipeline("tflite")


def test_a_missing_conversion_names_the_command(root: Path) -> None:
    with pytest.raises(UnusableModel, match="controller model convert rows@1 --to coreml --precision fp16"):
        ModelFolder.load(root).converted("coreml", "fp16")


@pytest.mark.parametrize(
    "text", ["{", "{}", json.dumps({"schema": 2}), json.dumps({"schema": 1, "file": "../../model.yaml"})]
)
def test_a_record_that_cannot_be_read_says_what_to_remove(root: Path, text: str) -> None:
    folder = put(root)
    (folder / "conversion.json").write_text(text)
    model = ModelFolder.load(root)
    with pytest.raises(UnusableModel, match=f"remove {folder}, then convert the model again"):
        model.conversions()


def test_a_record_reads_back_as_it_was_written(root: Path) -> None:
    put(root, notes=("a",), converter={"torch": "2.13.0"}, flagged="x")
    kept = ModelFolder.load(root).conversions()[0].conversion
    assert (kept.notes, kept.converter, kept.flagged) == (("a",), {"torch": "2.13.0"}, "x")
    assert kept.parity == Parity(120.0, None, 1e-6, 128)


@pytest.mark.usefixtures("children_here")
def test_conversions_do_not_change_what_a_model_is(tmp_path: Path) -> None:
    """The content's digest tells an import of the same model: it must not depend on what was made of it."""
    root = write_folder(tmp_path / "model", MODEL_YAML)
    check_model(ModelFolder.load(root), root)
    before = json.loads((root / "facts.json").read_text())["content_sha256"]
    (root / "conversions" / "onnx-fp16").mkdir(parents=True)
    shutil.copyfile(root / "small.onnx", root / "conversions" / "onnx-fp16" / "model.onnx")
    check_model(ModelFolder.load(root), root)
    assert json.loads((root / "facts.json").read_text())["content_sha256"] == before


def test_a_model_may_have_torch_alone_until_it_is_converted(root: Path) -> None:
    (root / "model.yaml").write_text(TABLE.replace("formats:\n  onnx: {file: rows.onnx}\n", ""))
    model = ModelFolder.load(root)
    assert model.sources().keys() == {"torch"}
    with pytest.raises(UnusableModel, match="controller model convert rows@1 --to onnx"):
        _ = model.baseline_format
    put(root)
    assert ModelFolder.load(root).baseline_format == "tflite"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("state: rows.safetensors", ""), "give factory and state, or program alone"),
        (("state: rows.safetensors", "state: a.pt, program: b.pt2"), "give factory and state, or program alone"),
        (('"net.py:build"', '"net:build"'), "factory"),
    ],
)
def test_a_torch_entry_names_one_network(root: Path, change: tuple[str, str], says: str) -> None:
    path = root / "model.yaml"
    path.write_text(path.read_text().replace(", " + change[0] if not change[1] else change[0], change[1]))
    with pytest.raises(Exception, match=says):
        ModelFolder.load(root)


def test_a_layout_belongs_to_its_kind(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "model", MODEL_YAML.replace("layout: NCL", "layout: NHWC"))
    with pytest.raises(Exception, match=r"NHWC is no layout of `pre\.kind: series`; it has NCL and NLC"):
        ModelFolder.load(root)
