"""What each engine makes of a file: really loaded, and its words made into a reason."""

import json
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import helper

from controller.compress.process.start import PassFailed
from controller.compress.variant import ENGINES_OF
from controller.errors import UnusableModel
from controller.models.folder import ModelFolder
from controller.models.sources import engines
from controller.models.sources.engines import Finding, check_runnable, findings, reason
from tests.unit.controller.compress.small_tflite import write_tflite
from tests.unit.controller.models.sources.small_graphs import linear

YAML = """\
schema: 1
name: both
version: "1"
kind: classification
formats: {onnx: {file: m.onnx}, tflite: {file: m.tflite}}
pre: {kind: tensor}
post: {kind: classification}
"""


@pytest.fixture
def model(tmp_path: Path) -> ModelFolder:
    """A folder with both formats; they need not be the same model."""
    onnx.save(linear(), tmp_path / "m.onnx")
    write_tflite(tmp_path / "m.tflite")
    (tmp_path / "model.yaml").write_text(YAML)
    return ModelFolder.load(tmp_path)


def test_engines_that_are_here_run_it_and_the_others_say_why_not(model: ModelFolder, tmp_path: Path) -> None:
    found = findings(model, tmp_path)
    assert set(found) == {engine for engines_of in ENGINES_OF.values() for engine in engines_of}
    assert (found["onnxruntime"].runs, found["litert"].runs) == (True, True)
    assert found["onnxruntime"].version
    assert found["executorch"].runs is None
    assert "no way to executorch float: from onnx: ExecuTorch lowers PyTorch" in str(found["executorch"].because)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]
    check_runnable(found, model)


def test_an_engine_without_a_file_says_which_command_makes_one(tmp_path: Path) -> None:
    onnx.save(linear(), tmp_path / "m.onnx")
    for name in ("net.py", "net.safetensors"):
        (tmp_path / name).touch()
    torch = "torch: {factory: 'net.py:build', state: net.safetensors}\n"
    text = YAML.replace(", tflite: {file: m.tflite}", "")
    (tmp_path / "model.yaml").write_text(text + torch)
    found = findings(ModelFolder.load(tmp_path), tmp_path)
    for engine, form in (("executorch", "executorch"), ("litert", "tflite")):
        assert f"`controller model convert both --to {form}` makes one" in str(found[engine].because)


def test_an_operator_that_an_engine_lacks_is_named(model: ModelFolder, tmp_path: Path) -> None:
    broken = linear()
    broken.graph.node[0].op_type, broken.graph.node[0].domain = "NoSuchThing", "com.microsoft"
    broken.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    onnx.save(broken, tmp_path / "m.onnx")
    found = findings(model, tmp_path)
    assert found["onnxruntime"].runs is False
    assert "it has no operator com.microsoft:NoSuchThing" in str(found["onnxruntime"].because)
    with pytest.raises(UnusableModel, match=r"m\.onnx: no engine here runs it \(onnxruntime: .*import it as TFLite"):
        check_runnable(found, model)


@pytest.mark.parametrize(
    ("said", "means"),
    [
        ("Could not find an implementation for Det(22) node with name 'd'", "no operator Det of version 22"),
        ("Fatal error: my.ops:Magic(-1) is not a registered function/op", "no operator my.ops:Magic ("),
        ("Encountered unresolved custom op: FlexErf.\nSee instructions", "no operator Erf ("),
        ("Op builtin_code out of range: 209. Are you using old TFLite binary", "no operator 209 ("),
        ("Didn't find op for builtin opcode 'CONV_2D' version '9'. An older", "no operator CONV_2D of version 9"),
    ],
)
def test_an_engines_words_name_the_operator(said: str, means: str) -> None:
    assert means in reason(said)
    assert len(reason(said + "x" * 20_000)) < 450  # at once, however long an engine's message is


def test_an_engine_that_crashes_on_a_file_does_not_run_it(
    model: ModelFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(_module: str, order: dict[str, Any], _folder: Path, name: str) -> dict[str, Any]:
        if order["engine"] == "litert":
            raise PassFailed(name, "litert crashed with signal 11")
        return {"outcome": "missing", "error": "not there"}

    monkeypatch.setattr(engines, "run_child", crash)
    found = findings(model, tmp_path)
    assert found["litert"] == Finding("tflite", False, because="litert crashed with signal 11 on this file")
    assert found["onnxruntime"] == Finding("onnx", None, because="not tried here: not installed")
    with pytest.raises(UnusableModel, match=r"m\.tflite: no engine here runs it \(litert: litert crashed"):
        check_runnable(found, model)


def test_one_engine_that_runs_it_is_enough(model: ModelFolder) -> None:
    one = {"litert": Finding("tflite", True, "2"), "tflite-runtime": Finding("tflite", False, because="too old")}
    check_runnable({**one, "onnxruntime": Finding("onnx", None, because="not tried")}, model)
    assert json.dumps(one["litert"].as_json())
