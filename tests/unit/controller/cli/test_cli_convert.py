"""`controller model convert`: what it says, what it leaves, its exit codes."""

import json
import shutil
from pathlib import Path

import pytest

from controller.cli.entry import run
from controller.convert.conversion import Conversion, Kept
from controller.workspace import Workspace
from tests.unit.controller.compress.small_models import MODEL_YAML, write_folder

pytestmark = pytest.mark.usefixtures("children_here")

PRE = MODEL_YAML[MODEL_YAML.index("pre:") : MODEL_YAML.index("post:")]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_folder(
        tmp_path / "small", MODEL_YAML.replace(PRE, "pre: {kind: tensor}\n").replace(", layout: NCL", "")
    )


def out(capsys: pytest.CaptureFixture[str], workspace: Workspace, *arguments: object, code: int = 0) -> str:
    """Return what a command prints; its exit code is asserted."""
    assert run(["--workspace", str(workspace.root), "model", "convert", *map(str, arguments)]) == code
    shown = capsys.readouterr()
    return shown.err if code else shown.out


def test_a_conversion_is_made_and_told(model: Path, workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    told = json.loads(out(capsys, workspace, model, "--to", "onnx", "--precision", "fp16", "--json"))
    assert (told["model"], told["target"], told["precision"], told["offered"]) == ("small@1", "onnx", "fp16", True)
    assert told["parity"]["sqnr_db"] > 40
    assert Path(told["path"]).stat().st_size == told["bytes"]
    again = out(capsys, workspace, model, "--to", "onnx", "--precision", "fp16")
    assert f"small@1: onnx-fp16 from onnx, {told['bytes'] / 1024:.1f} KiB" in again
    assert f"against its source: {told['parity']['sqnr_db']:.1f} dB, same top-1 in " in again
    assert "over 128 queries" in again
    assert run(["--workspace", str(workspace.root), "model", "show", str(model)]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert f"conversion onnx-fp16 {told['bytes'] / 1024:.1f} KiB from onnx" in shown


def test_compress_makes_the_conversion_that_a_recipe_begins_with(
    model: Path,
    workspace: Workspace,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("THRESHER_CONVERTERS", str(workspace.root / "none"))
    recipe = tmp_path / "halved.yaml"
    recipe.write_text("version: 1\nname: halved\nformats: [onnx]\npasses: [{converted: {precision: fp16}}]\n")
    shutil.copytree(model, workspace.models / "small" / "1")
    given = ["--workspace", str(workspace.root), "model", "compress", "small@1", "--recipe", str(recipe)]
    given += ["--recipe", "executorch-int8"]
    assert run([*given, "--dry-run"]) == 0
    assert capsys.readouterr().out == "would make onnx-halved, executorch-int8 of small@1\n"
    assert run([*given, "--json"]) == 0
    shown = capsys.readouterr()
    assert "onnx-halved: converting: onnx -> onnx fp16" in shown.err  # aside: stdout is JSON alone
    rows = {row["variant"]: row for row in json.loads(shown.out)["variants"]}
    assert rows["onnx-halved"]["error"] is None
    assert rows["onnx-halved"]["score"] > 0.9
    assert "ExecuTorch lowers PyTorch programs only" in rows["executorch-int8"]["error"]


def test_a_dry_run_tells_the_way_and_what_is_missing(
    model: Path, workspace: Workspace, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THRESHER_CONVERTERS", str(workspace.root / "none"))
    told = out(capsys, workspace, model, "--to", "tflite", "--precision", "int8", "--dry-run")
    assert told == (
        "would convert small@1: onnx -> tflite int8: from_onnx.to_tflite in the converter environment onnx2tf, "
        "then tflite_quantize\nfirst: controller model converters install onnx2tf\n"
    )
    told = out(capsys, workspace, model, "--to", "tensorrt", "--dry-run", "--json")
    assert json.loads(told) == {
        "model": "small@1",
        "route": "onnx -> tensorrt fp16: the model's own file, then float16",
        "missing_environment": None,
    }
    assert not (model / "conversions").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--to", "coreml"], 5, "coremltools has not read ONNX since version 6"),
        (["--to", "tflite"], 4, "controller model converters install onnx2tf"),
        (["--to", "tflite", "--from", "torch"], 5, "no torch source; it has onnx"),
        (["--to", "ncnn"], 2, "is not one of 'onnx', 'tflite', 'executorch', 'coreml', 'tensorrt'"),
        ([], 2, "Missing option '--to'"),
    ],
)
def test_what_cannot_be_done_has_a_reason_and_a_code(
    model: Path,
    workspace: Workspace,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    code: int,
    says: str,
) -> None:
    monkeypatch.setenv("THRESHER_CONVERTERS", str(workspace.root / "none"))
    assert says in out(capsys, workspace, model, *arguments, code=code)
    assert not (model / "conversions").exists()


def test_a_model_that_is_not_there(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    assert "no model 'nobody'" in out(capsys, workspace, "nobody", "--to", "onnx", code=4)


def test_a_flagged_conversion_is_told_as_a_failure(
    model: Path, workspace: Workspace, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    document = json.loads(out(capsys, workspace, model, "--to", "onnx", "--precision", "fp16", "--json"))
    record = Path(document["path"]).with_name("conversion.json")
    flagged = {**json.loads(record.read_text()), "flagged": "its outputs reach 3.0 dB"}
    kept = Kept(record.parent, Conversion.model_validate(flagged), "its outputs reach 3.0 dB")
    monkeypatch.setattr("controller.convert.making.make.convert", lambda *_: kept)
    said = out(capsys, workspace, model, "--to", "onnx", "--precision", "fp16", code=5)
    assert "error: onnx-fp16 is kept, and never deployed: its outputs reach 3.0 dB" in said
