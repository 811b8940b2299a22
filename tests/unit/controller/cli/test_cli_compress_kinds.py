"""`controller model compress` on a small model of each kind: int8, judged by the kind's own metric, and compared."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import yaml
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from controller.cli.entry import run
from controller.workspace import Workspace

pytestmark = pytest.mark.usefixtures("children_here")

RANDOM = np.random.default_rng(20)
RECIPE = "version: 1\nname: int8\nformats: [onnx]\npasses: [{quantize_static: {scheme: u8u8}}]\n"
SAMPLES = 120

Array = NDArray[Any]


def save(path: Path, layers: list[tuple[str, Array]], shapes: tuple[list[Any], list[Any]]) -> None:
    """Write a chain of products or convolutions."""
    operators = [
        helper.make_node(name, [f"h{number}", f"w{number}"], [f"h{number + 1}"], name=f"layer_{number}")
        for number, (name, _) in enumerate(layers)
    ]
    first, last = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", *shape])
        for name, shape in zip(("h0", f"h{len(layers)}"), shapes, strict=True)
    )
    weights = [numpy_helper.from_array(each.astype(np.float32), f"w{n}") for n, (_, each) in enumerate(layers)]
    graph = helper.make_graph(operators, "small", [first], [last], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def anomaly(path: Path) -> dict[str, Array]:
    """A plane in eight dimensions: what lies beside it is anomalous."""
    plane = np.linalg.qr(RANDOM.normal(size=(8, 2)))[0]
    save(path, [("MatMul", plane), ("MatMul", plane.T)], ([8], [8]))
    inputs = RANDOM.normal(size=(SAMPLES, 2)) @ plane.T + RANDOM.normal(scale=0.15, size=(SAMPLES, 8))
    labels = np.arange(SAMPLES) % 4 == 0
    inputs[labels] += RANDOM.normal(scale=0.3, size=(int(labels.sum()), 8))
    return {"inputs": inputs[:80], "labels": labels[:80], "train_inputs": inputs[80:][~labels[80:]]}


def embedding(path: Path) -> dict[str, Array]:
    save(path, [("MatMul", RANDOM.normal(size=(8, 16)))], ([8], [16]))
    return {"inputs": RANDOM.normal(size=(SAMPLES, 8))}


def segmentation(path: Path) -> dict[str, Array]:
    kernel = 4 * np.eye(3)[:, :, np.newaxis, np.newaxis]
    save(path, [("Conv", kernel)], ([3, 6, 6], [3, 6, 6]))
    masks = RANDOM.integers(0, 3, (SAMPLES, 6, 6))
    inputs = np.eye(3)[masks].transpose(0, 3, 1, 2) + RANDOM.normal(scale=0.4, size=(SAMPLES, 3, 6, 6))
    masks[:, 0, 0] = -1
    return {"inputs": inputs, "masks": masks}


def sequence(path: Path) -> dict[str, Array]:
    save(path, [("MatMul", 5 * np.eye(5))], ([6, 5], [6, 5]))
    tokens = RANDOM.integers(0, 5, (SAMPLES, 6))
    inputs = np.eye(5)[tokens] + RANDOM.normal(scale=0.35, size=(SAMPLES, 6, 5))
    tokens[:, 4:] = -1
    return {"inputs": inputs, "tokens": tokens}


def detection(path: Path) -> dict[str, Array]:
    """Heads that are given: nine anchors, of which the first meets the true box and the second is beside it."""
    save(path, [("Conv", np.eye(6)[:, :, np.newaxis])], ([6, 9], [6, 9]))
    classes = RANDOM.integers(0, 2, (SAMPLES, 1))
    heads = np.zeros((SAMPLES, 6, 9))
    heads[:, :4, 0] = [0.5, 0.5, 0.6, 0.6]
    heads[:, :4, 0] += RANDOM.normal(scale=0.03, size=(SAMPLES, 4))
    heads[:, :4, 1] = [0.2, 0.2, 0.1, 0.1]
    heads[np.arange(SAMPLES), 4 + classes[:, 0], 0] = RANDOM.uniform(0.4, 1.0, SAMPLES)
    heads[:, 4, 1] = 0.3
    return {"inputs": heads, "boxes": np.tile([[[0.2, 0.2, 0.8, 0.8]]], (SAMPLES, 1, 1)), "classes": classes}


@pytest.mark.parametrize(
    ("make", "post", "score", "least", "rows"),
    [
        (anomaly, {"kind": "regression"}, "auroc", 0.8, ["normal", "anomalous"]),
        # Each starts half a dozen processes, so that two kinds speak for all in the suite that runs every time.
        pytest.param(embedding, {"kind": "regression"}, "cosine", 1.0, [], marks=pytest.mark.long),
        (segmentation, {"kind": "segmentation", "labels": ["soil", "leaf", "sky"]}, "mean_iou", 0.7, 3),
        pytest.param(sequence, {"kind": "regression"}, "token_accuracy", 0.8, [], marks=pytest.mark.long),
        pytest.param(
            detection, {"kind": "detection", "labels": ["leaf", "stone"]}, "map", 0.5, 2, marks=pytest.mark.long
        ),
    ],
    ids=lambda each: getattr(each, "__name__", None),
)
def test_a_model_of_each_kind_is_compressed_judged_and_compared(
    make: Any, post: dict[str, Any], score: str, least: float, rows: Any, workspace: Workspace, capsys: Any
) -> None:
    kind, folder = make.__name__, workspace.models / "small" / "1"
    folder.mkdir(parents=True)
    arrays = make(folder / "m.onnx")
    np.savez(folder / "s.npz", **arrays)
    data = {"npz": "s.npz", **({"train_inputs": "train_inputs"} if "train_inputs" in arrays else {})}
    described = {"schema": 1, "name": "small", "version": "1", "kind": kind, "pre": {"kind": "tensor"}, "post": post}
    (folder / "model.yaml").write_text(
        yaml.safe_dump({**described, "formats": {"onnx": {"file": "m.onnx"}}, "data": data})
    )
    recipe = workspace.root / "int8.yaml"
    recipe.write_text(RECIPE)
    given = ["--workspace", str(workspace.root), "model", "compress", "small@1", "--recipe", str(recipe)]
    assert run([*given, "--json"]) == 0
    baseline, variant = json.loads(capsys.readouterr().out)["variants"]
    assert (variant["error"], variant["score_name"]) == (None, score)
    assert baseline["score"] >= least
    assert baseline["against_baseline"] is None
    assert baseline["metrics"][f"{score}_lower"] <= baseline["score"] <= baseline["metrics"][f"{score}_upper"]
    assert variant["score"] > 0.8 * baseline["score"]
    assert variant["lost"] == pytest.approx(baseline["score"] - variant["score"])
    assert variant["lost"] <= variant["lost_at_most"]
    assert variant["against_baseline"].startswith(("no difference shown (", "worse: lost", "better: gained"))
    names = [row["name"] for row in variant["per_class"]]
    assert names == (post["labels"] if isinstance(rows, int) else rows)
    if kind == "anomaly":
        # Each has its own: int8's scores are others than the float model's.
        assert variant["metrics"]["threshold"] != baseline["metrics"]["threshold"]
        assert variant["metrics"]["false_alarm_ratio"] < 0.35
