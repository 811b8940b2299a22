"""Answers that are probabilities already, told from the file's last operator; and what an import makes of that."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from ai_edge_litert import schema_py_generated as schema
from onnx import helper

from controller.errors import ConfigurationError, UnusableData
from controller.models import importing
from controller.models.folder import ModelFolder
from controller.models.importing import FACTS, ImportRequest, import_model
from controller.models.samples import evaluation_samples
from controller.models.sources.answers import finished_by
from controller.models.sources.base import Origin
from tests.unit.controller.compress.small_models import write_folder
from tests.unit.controller.compress.small_tflite import OUTPUTS, write_tflite
from tests.unit.controller.models.sources.small_graphs import linear, recurrent, save
from tests.unit.controller.models.sources.test_tflite_files import changed


def ending(*operators: str) -> onnx.ModelProto:
    """Return a linear model with these operators behind it, one after the other; the last one gives `answer`."""
    model, name = linear(), "scores"
    for number, operator in enumerate(operators):
        made = "answer" if number == len(operators) - 1 else f"between_{number}"
        options: dict[str, Any] = {"axis": 1} if operator == "Softmax" else {}
        model.graph.node.append(helper.make_node(operator, [name], [made], **options))
        name = made
    if operators:
        model.graph.output[0].name = "answer"
    return model


@pytest.mark.parametrize(
    ("operators", "found"),
    [
        ((), None),
        (("Softmax",), "Softmax"),
        (("Sigmoid",), "Sigmoid"),
        (("Softmax", "Identity", "Flatten"), "Softmax"),
        (("Softmax", "Log"), None),  # scores again: softmax gives the probabilities back
        (("Sigmoid", "Relu"), None),
    ],
)
def test_the_last_operator_of_an_onnx_file(operators: tuple[str, ...], found: str | None, tmp_path: Path) -> None:
    path = save(ending(*operators), tmp_path / "m.onnx")
    assert finished_by("onnx", path, "answer" if operators else "scores") == found
    assert finished_by("onnx", path, "row") is None
    assert finished_by("executorch", path, "answer") is None


def with_softmax(model: Any) -> None:
    """Lay softmax over the scores, and name what it gives `chances`."""
    code, operator, tensor = schema.OperatorCodeT(), schema.OperatorT(), schema.TensorT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.SOFTMAX
    code.version = 1
    tensor.name, tensor.shape, tensor.buffer, tensor.type = b"chances", [1, OUTPUTS], 0, schema.TensorType.FLOAT32
    operator.opcodeIndex, operator.inputs, operator.outputs = 1, [3], [4]
    operator.builtinOptionsType, operator.builtinOptions = (
        schema.BuiltinOptions.SoftmaxOptions,
        schema.SoftmaxOptionsT(),
    )
    operator.builtinOptions.beta = 1.0
    model.operatorCodes.append(code)
    graph = model.subgraphs[0]
    graph.tensors.append(tensor)
    graph.operators.append(operator)
    graph.outputs = [4]
    model.signatureDefs[0].outputs[0].tensorIndex = 4


def test_the_last_operator_of_a_tflite_file(tmp_path: Path) -> None:
    assert finished_by("tflite", write_tflite(tmp_path / "plain.tflite"), "scores") is None
    path = changed(tmp_path / "m.tflite", with_softmax)
    assert finished_by("tflite", path, "chances") == "SOFTMAX"
    assert finished_by("tflite", path, "scores") is None


@pytest.mark.parametrize("form", ["onnx", "tflite"])
def test_no_second_softmax_is_laid_over_probabilities(form: str, tmp_path: Path) -> None:
    path = tmp_path / f"m.{form}"
    if form == "onnx":
        save(ending("Softmax"), path)
    else:
        changed(path, with_softmax)
    model = import_model(ImportRequest(path, labels=tuple("abcd"[: 3 if form == "onnx" else 4])), tmp_path / "models")
    assert model.spec.post["activation"] == "none"
    notes = json.loads((model.root / FACTS).read_text())["origin"]["notes"]
    assert any("what it gives counts as probabilities (post.activation: none)" in note for note in notes)
    assert "post.activation: none" in (model.root / "CARD.md").read_text()


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Load no file in an engine: what the other tests have checked."""

    def check(_model: ModelFolder, folder: Path, _samples: Path | None, origin: Origin) -> None:
        facts = {"content_sha256": str(folder), "formats": {}, "origin": origin.as_json()}
        (folder / FACTS).write_text(json.dumps(facts))

    monkeypatch.setattr(importing, "check_model", check)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("given", "kept"), [(None, "softmax"), ("sigmoid", "sigmoid"), ("none", "none")])
def test_an_activation_that_is_given_counts(given: Any, kept: str, tmp_path: Path) -> None:
    request = ImportRequest(save(linear(), tmp_path / "m.onnx"), activation=given)
    assert import_model(request, tmp_path / "models").spec.post["activation"] == kept
    request = ImportRequest(save(ending("Softmax"), tmp_path / "p.onnx"), activation="softmax")
    assert import_model(request, tmp_path / "models").spec.post["activation"] == "softmax"


def test_an_activation_is_for_classes_alone(tmp_path: Path) -> None:
    request = ImportRequest(save(recurrent(), tmp_path / "m.onnx"), kind="regression", activation="none")
    with pytest.raises(ConfigurationError, match=r"--activation makes probabilities of scores.* kind is regression"):
        import_model(request, tmp_path / "models")
    assert list((tmp_path / "models").iterdir()) == []


@pytest.mark.parametrize(
    "option",
    [
        {"name": "other"},
        {"samples": Path("s.npz")},
        {"kind": "regression"},
        {"labels": ("a", "b")},
        {"activation": "none"},
    ],
)
def test_what_a_model_folder_says_itself_is_refused_and_not_passed_over(option: Any, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "given")
    with pytest.raises(ConfigurationError, match=r"is a model folder, whose model\.yaml says this itself"):
        import_model(ImportRequest(folder, **option), tmp_path / "models")
    assert not (tmp_path / "models").exists()


def test_one_hot_labels_and_a_model_with_one_output_get_a_hint(tmp_path: Path) -> None:
    text = "schema: 1\nname: m\nversion: '1'\nkind: classification\nformats: {onnx: {file: m.onnx, input: INPUT}}\n"
    text += "pre: {kind: tensor}\npost: {kind: classification}\ndata: {npz: s.npz}\n"
    one_hot = np.eye(3)[np.arange(9) % 3]
    for model, named, labels, says in (
        (linear(), "row", one_hot, r"labels have shape \(9, 3\).*numpy\.argmax\(labels, axis=1\)"),
        (recurrent(), "chunk, output: level, state: {h: h_out}", np.arange(9) % 2, "0 to 1.*--kind regression"),
    ):
        save(model, tmp_path / "m.onnx")
        np.savez(tmp_path / "s.npz", inputs=np.zeros((9, 4), np.float32), labels=labels)
        (tmp_path / "model.yaml").write_text(text.replace("INPUT", named))
        with pytest.raises(UnusableData, match=says):
            evaluation_samples(ModelFolder.load(tmp_path), tmp_path / "cache")
