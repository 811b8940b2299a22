"""A model of each kind, through the controller's import and the device's pipeline: its answer by plain numpy."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import yaml
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from agent.inference.engines.onnxruntime import OnnxRuntimeEngine
from agent.inference.pipeline import make_pipeline
from agent.inference.post import Answer
from controller.models.folder import ModelFolder
from controller.models.importing import ImportRequest, import_model
from controller.models.preprocess import prepare
from tests.unit.agent.inference.post.by_numpy import boxes_by_numpy, corners_of, same, sigmoid, softmax
from wire.spec import DetectionPost

pytestmark = pytest.mark.usefixtures("children_here")

Floats = NDArray[np.float32]
Outputs = dict[str, tuple[int, ...]]
SIZE, ANCHORS = 32, 40
PICTURE = np.random.default_rng(8).integers(0, 256, (20, 48, 3), dtype=np.uint8)
GEOMETRY = (32 / 48, 13 / 20, 0.0, 9.0, 48.0, 20.0)
"""How the picture lies in the input: 32 x 13 pixels, nine rows of padding above."""


class Made:
    """A model of pictures: its means of each colour times random weights, as many as its outputs need."""

    def __init__(self, outputs: Outputs) -> None:
        random = np.random.default_rng(5)
        self.outputs = outputs
        self.weights: dict[str, tuple[Floats, Floats]] = {}
        for name, shape in outputs.items():
            size = int(np.prod(shape))
            numbers = random.normal(size=(3, size)), random.normal(size=size)
            self.weights[name] = (numbers[0].astype(np.float32), numbers[1].astype(np.float32))

    def save(self, path: Path) -> None:
        operators = [
            helper.make_node("GlobalAveragePool", ["x"], ["pooled"]),
            helper.make_node("Flatten", ["pooled"], ["means"]),
        ]
        constants = []
        for name, shape in self.outputs.items():
            weight, bias = self.weights[name]
            arrays = {f"{name}_w": weight, f"{name}_b": bias, f"{name}_shape": np.array([-1, *shape])}
            constants += [numpy_helper.from_array(array, key) for key, array in arrays.items()]
            operators.append(helper.make_node("Gemm", ["means", f"{name}_w", f"{name}_b"], [f"{name}_flat"]))
            operators.append(helper.make_node("Reshape", [f"{name}_flat", f"{name}_shape"], [name]))
        save(path, operators, self.outputs, constants)

    def given(self, prepared: Floats) -> list[Floats]:
        """Return the outputs for a prepared picture (channels, rows, columns)."""
        means = prepared.mean(axis=(1, 2), dtype=np.float64).astype(np.float32)
        return [(means @ w + b).reshape(self.outputs[name]) for name, (w, b) in self.weights.items()]


def save(path: Path, operators: list[Any], outputs: Outputs, constants: list[Any]) -> None:
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", *shape]) for name, shape in outputs.items()]
    taken = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, SIZE, SIZE])
    graph = helper.make_graph(operators, "made", [taken], ends, constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def imported(folder: Path, post: dict[str, Any], **entry: str) -> tuple[ModelFolder, Floats, Answer]:
    """Import the folder's `m.onnx`; return the model, the prepared picture, and the device's answer to it."""
    described = {
        "schema": 1,
        "name": "made",
        "version": "1",
        "kind": post["kind"],
        "formats": {"onnx": {"file": "m.onnx", **entry}},
        "pre": {"kind": "image", "height": SIZE, "width": SIZE, "fit": "letterbox"},
        "post": post,
    }
    (folder / "model.yaml").write_text(yaml.safe_dump(described))
    model = import_model(ImportRequest(folder), folder.parent / "models")
    declared = model.pipeline("onnx")
    engine = OnnxRuntimeEngine.load(model.file("onnx"), {}, threads=1)
    answer = make_pipeline(declared, engine, folder=model.root).answer(PICTURE)
    return model, prepare(declared.pre, PICTURE[np.newaxis])[0], answer


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "given").mkdir()
    return tmp_path / "given"


def test_classification(folder: Path) -> None:
    made = Made({"y": (5,)})
    made.save(folder / "m.onnx")
    labels = ["ash", "beech", "cedar", "elm", "fir"]
    _, prepared, answer = imported(folder, {"kind": "classification", "top_k": 3, "labels": labels})
    shares = softmax(made.given(prepared)[0])
    best = np.argsort(-shares)[:3]
    assert answer.classes == tuple(best.tolist())
    assert answer.labels == tuple(labels[number] for number in best)
    assert answer.values == pytest.approx(shares[best].tolist(), rel=1e-5)


def test_regression(folder: Path) -> None:
    made = Made({"y": (2,)})
    made.save(folder / "m.onnx")
    post = {"kind": "regression", "scale": [10.0, 0.5], "offset": [-3.0, 20.0], "names": ["weight", "moisture"]}
    model, prepared, answer = imported(folder, post)
    assert model.labels == ("weight", "moisture")
    wanted = made.given(prepared)[0] * np.array([10.0, 0.5]) + np.array([-3.0, 20.0])
    assert answer.values == pytest.approx(wanted.tolist(), rel=1e-5)


def test_detection_by_a_head_like_yolos(folder: Path) -> None:
    made = Made({"y": (4 + 3, ANCHORS)})
    weight, bias = (numbers.reshape(-1, 7, ANCHORS) for numbers in made.weights["y"])
    weight[:, :4], bias[:, :4] = weight[:, :4] * 0.1, np.random.default_rng(2).uniform(3, 29, (4, ANCHORS))
    made.save(folder / "m.onnx")
    labels = ["leaf", "stone", "soil"]
    post = {"kind": "detection", "activation": "sigmoid", "labels": labels, "score_threshold": 0.6}
    model, prepared, answer = imported(folder, {**post, "iou_threshold": 0.3, "most": 4})
    head = made.given(prepared)[0]
    scores = sigmoid(head[4:].T).astype(np.float32)
    same(answer, boxes_by_numpy(corners_of(head[:4].T), scores, declared(model), GEOMETRY))
    assert len(answer.boxes) == 4
    assert answer.labels == tuple(labels[number] for number in answer.classes)


def test_detection_by_a_head_like_ssds(folder: Path) -> None:
    made = Made({"offsets": (ANCHORS, 4), "scores": (ANCHORS, 3)})
    made.save(folder / "m.onnx")
    anchors = np.random.default_rng(3).uniform(0.1, 0.9, (ANCHORS, 4)).astype(np.float32)
    np.save(folder / "anchors.npy", anchors)
    post = {"kind": "detection", "head": "ssd", "anchors_file": "anchors.npy", "activation": "softmax"}
    rules = {"background": True, "multi_label": True, "score_threshold": 0.2, "most": 6}
    model, prepared, answer = imported(folder, {**post, **rules}, output="offsets", scores="scores")
    offsets, scores = made.given(prepared)
    centres = anchors[:, :2] + offsets[:, :2] * 0.1 * anchors[:, 2:]
    sizes = np.exp(offsets[:, 2:] * 0.2) * anchors[:, 2:]
    upright = np.hstack([centres[:, ::-1], sizes[:, ::-1]]) * SIZE  # vertical values stand first
    same(answer, boxes_by_numpy(corners_of(upright), softmax(scores).astype(np.float32), declared(model), GEOMETRY))
    assert len(answer.boxes) == 6


def declared(model: ModelFolder) -> DetectionPost:
    post = model.pipeline("onnx").post
    assert isinstance(post, DetectionPost)
    return post


def test_segmentation(folder: Path) -> None:
    random = np.random.default_rng(4)
    weight = random.normal(size=(4, 3, 1, 1)).astype(np.float32)
    bias = random.normal(size=4).astype(np.float32) * np.float32(0.1)
    constants = [numpy_helper.from_array(weight, "w"), numpy_helper.from_array(bias, "b")]
    save(folder / "m.onnx", [helper.make_node("Conv", ["x", "w", "b"], ["y"])], {"y": (4, SIZE, SIZE)}, constants)
    labels = ["soil", "leaf", "stone", "sky"]
    _, prepared, answer = imported(folder, {"kind": "segmentation", "resize": "query", "labels": labels})
    scores = np.einsum("kc,crs->krs", weight[:, :, 0, 0], prepared) + bias[:, np.newaxis, np.newaxis]
    rows = np.floor((np.arange(20) + 0.5) * GEOMETRY[1] + GEOMETRY[3]).astype(int)
    columns = np.floor((np.arange(48) + 0.5) * GEOMETRY[0]).astype(int)
    wanted = scores.argmax(axis=0)[rows][:, columns]
    assert answer.mask is not None
    assert answer.mask.tolist() == wanted.tolist()
    shares = np.bincount(wanted.reshape(-1), minlength=4) / wanted.size
    assert answer.values == pytest.approx(sorted(shares[shares > 0], reverse=True))
    assert answer.labels == tuple(labels[number] for number in answer.classes)
