"""Models of detection and segmentation whose outputs are their inputs, and the bundles around them."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper

from tests.unit.agent.inference import bundle_kit as kit
from wire import spec
from wire.manifest import GoldenSpec

Floats = NDArray[np.float32]
ANCHORS, CLASSES, ROWS, COLUMNS = 3, 2, 4, 5
NAMES = ("leaf", "stone")


def save_copying_model(path: Path, shape: tuple[int, ...]) -> None:
    """Write an ONNX model whose output `y` is its input `x`, (n, …)."""
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", *shape]) for name in ("x", "y")]
    kit.save(helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "copy", ends[:1], ends[1:]), path)


def detection_query() -> Floats:
    """A head (4 + classes, anchors): a leaf, a stone, and nothing."""
    anchors = [(20, 30, 8, 4, 0.9, 0.1), (50, 50, 10, 10, 0.2, 0.6), (5, 5, 2, 2, 0, 0)]
    return np.ascontiguousarray(np.array(anchors, np.float32).T)


def segmentation_query() -> Floats:
    """Scores (classes, rows, columns): the last column is of stone."""
    scores = np.zeros((CLASSES, ROWS, COLUMNS), np.float32)
    scores[1, :, -1] = 1
    return scores


def _post(kind: str, shape: tuple[int, ...]) -> spec.PostSpec:
    output = spec.TensorSpec(name="y", shape=(-1, *shape))
    if kind == "detection":
        return spec.DetectionPost(labels=NAMES, output=output)
    return spec.SegmentationPost(labels=NAMES, output=output)


def write_dense_bundle(folder: Path, kind: str) -> Floats:
    """Write a bundle of detection or segmentation and return a query for it."""
    query = detection_query() if kind == "detection" else segmentation_query()
    folder.mkdir(parents=True, exist_ok=True)
    save_copying_model(folder / "model.onnx", query.shape)
    pre = spec.TensorPre(input=spec.TensorSpec(name="x", shape=(-1, *query.shape)))
    golden: dict[str, Any] = {"inputs": query[np.newaxis], "outputs": query[np.newaxis]}
    pipeline = spec.Pipeline(pre=pre, post=_post(kind, query.shape))
    kit.write_bundle(folder, kind=kind, pipeline=pipeline, golden=GoldenSpec(samples=1), **golden)
    return query
