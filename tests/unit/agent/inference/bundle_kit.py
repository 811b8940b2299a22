"""Small real models and the bundles around them, made on the spot."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from wire import spec
from wire.artifact import FileEntry
from wire.base import encode
from wire.canonical import sha256_hex
from wire.manifest import BundleManifest, DatasetManifest, GoldenSpec, manifest_digest

CHANNELS, LENGTH, CLASSES = 2, 12, 3
LABELS = ("ash", "beech", "cedar")
Floats = NDArray[np.float32]
WEIGHTS = np.random.default_rng(7).normal(size=(CHANNELS * LENGTH, CLASSES)).astype(np.float32)


def queries(count: int = 10, seed: int = 1) -> Floats:
    return (np.random.default_rng(seed).normal(size=(count, CHANNELS, LENGTH)) * 3 + 5).astype(np.float32)


def reference(inputs: NDArray[Any]) -> Floats:
    """What the classifier must give: z-normalised per channel, flattened, times the weights."""
    values = inputs.astype(np.float64)
    normal = (values - values.mean(axis=2, keepdims=True)) / values.std(axis=2, keepdims=True)
    return np.asarray(normal.astype(np.float32).reshape(len(inputs), -1) @ WEIGHTS, dtype=np.float32)


def save_linear_model(path: Path, batch: int | str = "n", dtype: int = TensorProto.FLOAT) -> None:
    """Write logits = flatten(x) @ WEIGHTS as ONNX."""
    cast = [helper.make_node("Cast", ["x"], ["x32"], to=TensorProto.FLOAT)]
    first = "x" if dtype == TensorProto.FLOAT else "x32"
    nodes = [helper.make_node("Flatten", [first], ["flat"]), helper.make_node("MatMul", ["flat", "w"], ["logits"])]
    graph = helper.make_graph(
        (cast if first == "x32" else []) + nodes,
        "linear",
        [helper.make_tensor_value_info("x", dtype, [batch, CHANNELS, LENGTH])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [batch, CLASSES])],
        [numpy_helper.from_array(WEIGHTS, "w")],
    )
    save(graph, path)


def save(graph: onnx.GraphProto, path: Path) -> None:
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def classifier_pipeline(**pre: Any) -> spec.Pipeline:
    tensor = spec.TensorSpec(name="x", shape=(-1, CHANNELS, LENGTH))
    chosen = {"channels": CHANNELS, "length": LENGTH, "normalise": spec.ZScore(), "input": tensor, **pre}
    post = spec.ClassificationPost(top_k=2, labels=LABELS, output=spec.TensorSpec(name="logits", shape=(-1, CLASSES)))
    return spec.Pipeline(pre=spec.SeriesPre(**chosen), post=post)


def write_bundle(
    folder: Path, inputs: NDArray[Any] | None = None, outputs: NDArray[Any] | None = None, **fields: Any
) -> str:
    """Write a classifier's bundle into `folder` (its model too, unless one lies there) and return its digest."""
    (folder / "golden").mkdir(parents=True, exist_ok=True)
    inputs = queries() if inputs is None else inputs
    if not (folder / fields.get("model_file", "model.onnx")).exists():
        save_linear_model(folder / "model.onnx")
    np.save(folder / "golden/inputs.npy", inputs)
    np.save(folder / "golden/outputs.npy", reference(inputs) if outputs is None else outputs)
    described = {
        "model": "linear",
        "model_version": "1",
        "kind": "classification",
        "variant": "onnx-float",
        "format": "onnx",
        "engine": "onnxruntime",
        "model_file": "model.onnx",
        "pipeline": classifier_pipeline(),
        "golden": GoldenSpec(samples=len(inputs)),
        "files": entries(folder),
        **fields,
    }
    manifest = BundleManifest.model_validate(described)
    (folder / "manifest.json").write_bytes(encode(manifest))
    return manifest_digest(manifest)


def write_dataset(folder: Path, inputs: NDArray[Any]) -> str:
    """Write an evaluation set into `folder` and return its digest."""
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "inputs.npy", inputs)
    manifest = DatasetManifest(
        name="evaluation", kind="classification", samples=len(inputs), labels=None, files=entries(folder)
    )
    (folder / "manifest.json").write_bytes(encode(manifest))
    return manifest_digest(manifest)


def entries(folder: Path) -> tuple[FileEntry, ...]:
    found = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "manifest.json")
    return tuple(
        FileEntry(
            path=str(path.relative_to(folder)),
            size_bytes=path.stat().st_size,
            sha256=sha256_hex(path.read_bytes()),
        )
        for path in found
    )
