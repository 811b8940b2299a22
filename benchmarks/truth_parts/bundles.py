"""Bundles of a known amount of work, or of none.

`write_blocks`: n equal blocks, each a product of two 128 x 128 matrices and a ReLU. All blocks share one matrix and fit
into a core's second-level cache, so that 1.05 n blocks are 5 % more work of the same kind, and neighbours of the
processor's shared cache hardly matter. `write_plain`: any model whose queries are its inputs already.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.common import repository
from wire import spec
from wire.artifact import FileEntry
from wire.base import encode
from wire.canonical import sha256_hex
from wire.manifest import BundleManifest, GoldenSpec

SIDE = 128
QUERIES = 8
BLOCKS = 40
MORE_BLOCKS = 42
"""Of 40: exactly 5 % more."""

LEAF_SHAPE, LEAF_CLASSES = (1, 1, 427), 6

Floats = NDArray[np.float32]


def write_blocks(folder: Path, variant: str, blocks: int = BLOCKS) -> Path:
    """Write a bundle whose model does `blocks` blocks, and return its folder; it must not exist yet."""
    inputs = _normal((QUERIES, SIDE, SIDE))
    return write_plain(folder, block_model(blocks), inputs, block_outputs(inputs, blocks), variant=variant)


def write_engine(folder: Path, engine: str, **options: Any) -> Path:
    """Write a bundle for one of this benchmark's own engines (`engines.py`), which answers with zeros."""
    inputs, outputs = _normal((QUERIES, 4)), np.zeros((QUERIES, 4), dtype=np.float32)
    return write_plain(folder, b"none", inputs, outputs, engine=engine, engine_options=options)


def write_leaf(folder: Path, engine: str) -> Path:
    """Write a bundle of the reference model `leaf_outline`, whose queries are normalised already."""
    suffix = {"onnxruntime": "onnx", "litert": "tflite"}[engine]
    content = (repository() / "models/leaf_outline" / f"leaf_outline.{suffix}").read_bytes()
    inputs = _normal((QUERIES, *LEAF_SHAPE[1:]))
    outputs = _leaf_outputs(inputs)
    return write_plain(folder, content, inputs, outputs, engine=engine, format=suffix, model_file=f"model.{suffix}")


def write_plain(folder: Path, model: bytes, inputs: Floats, outputs: Floats, **fields: Any) -> Path:
    """Write a bundle around a model whose queries are its inputs already, without their batch axis.

    Args:
        folder: Made; must not exist yet.
        model: The content of its file.
        inputs: Golden queries, stacked.
        outputs: What it gives on them, shape (n, numbers).
        fields: Of the manifest, in place of the usual ones.
    """
    (folder / "golden").mkdir(parents=True)
    (folder / fields.get("model_file", "model.onnx")).write_bytes(model)
    np.save(folder / "golden/inputs.npy", inputs)
    np.save(folder / "golden/outputs.npy", outputs)
    names = _tensor_names(folder, fields.get("engine", "onnxruntime"), fields.get("model_file", "model.onnx"))
    pre = spec.TensorPre(input=spec.TensorSpec(name=names[0], shape=(1, *inputs.shape[1:])))
    post = spec.RegressionPost(output=spec.TensorSpec(name=names[1], shape=(1, *outputs.shape[1:])))
    described = {
        "model": "truth",
        "model_version": "1",
        "kind": "regression",
        "variant": folder.name,
        "format": "onnx",
        "engine": "onnxruntime",
        "model_file": "model.onnx",
        "pipeline": spec.Pipeline(pre=pre, post=post),
        "golden": GoldenSpec(samples=len(inputs)),
        "files": entries(folder),
        **fields,
    }
    (folder / "manifest.json").write_bytes(encode(BundleManifest.model_validate(described)))
    return folder


def block_model(blocks: int) -> bytes:
    """Return the model as ONNX: x (1, 128, 128) -> y (1, 128)."""
    from onnx import TensorProto, helper, numpy_helper

    nodes, value = [], "x"
    for number in range(blocks):
        nodes.append(helper.make_node("MatMul", [value, "w"], [f"product{number}"]))
        nodes.append(helper.make_node("Relu", [f"product{number}"], [f"block{number}"]))
        value = f"block{number}"
    nodes.append(helper.make_node("ReduceMean", [value], ["y"], axes=[1], keepdims=0))
    graph = helper.make_graph(
        nodes,
        "blocks",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, SIDE, SIDE])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, SIDE])],
        [numpy_helper.from_array(_weights(), "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    content: bytes = model.SerializeToString()
    return content


def block_outputs(inputs: Floats, blocks: int) -> Floats:
    """Return what the model must give, by numpy."""
    values = inputs
    for _ in range(blocks):
        values = np.maximum(values @ _weights(), 0)
    return np.asarray(values.mean(axis=1), dtype=np.float32)


def entries(folder: Path) -> tuple[FileEntry, ...]:
    """Return the files of a folder as a manifest lists them."""
    found = {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
    return tuple(
        FileEntry(path=str(path.relative_to(folder)), size_bytes=len(content), sha256=sha256_hex(content))
        for path, content in found.items()
        if path.name != "manifest.json"
    )


def _leaf_outputs(inputs: Floats) -> Floats:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(repository() / "models/leaf_outline/leaf_outline.onnx"))
    name = session.get_inputs()[0].name
    return np.concatenate([session.run(None, {name: one[None]})[0] for one in inputs])


def _tensor_names(folder: Path, engine: str, model_file: str) -> tuple[str, str]:
    """Return the names of a model's input and output; ours are called x and y."""
    if engine not in ("onnxruntime", "litert"):
        return "x", "y"
    from agent.inference.engines.registry import engine_class

    loaded = engine_class(engine).load(folder / model_file, {}, threads=1)
    names = loaded.inputs[0].name, loaded.outputs[0].name
    loaded.close()
    return names


def _weights() -> Floats:
    """Return weights with which values neither grow nor vanish over the blocks (He et al. 2015)."""
    random = np.random.default_rng(5).normal(size=(SIDE, SIDE)) * np.sqrt(2 / SIDE)
    return np.asarray(random, dtype=np.float32)


def _normal(shape: tuple[int, ...]) -> Floats:
    return np.asarray(np.random.default_rng(11).normal(size=shape), dtype=np.float32)
