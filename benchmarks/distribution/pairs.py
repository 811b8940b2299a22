"""Pairs of a model before and after a change, made by the product's own passes from networks with real weights.

Decides: the changes. *Head*: the last layer has other weights, everything before it is frozen; of EfficientNet-Lite0's
1,000 classes the first 100 stand for the head before, the next 100 for the one trained again, so that both hold numbers
that training made. *Calibration*: the same float file quantised after looking at other samples. ONNX Runtime's way
then changes some weights too, where a bias would not fit: there is one pair with the weights put back. Leaves out:
moving them (`ways.py`).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from benchmarks.common import repository
from benchmarks.distribution.ways import Files
from benchmarks.engine_parts.subjects.packages import package_subjects
from controller.bundle.pack import npy_bytes
from controller.compress.cache import PassCache
from controller.compress.passes import find_pass
from controller.compress.passes.base import Artifact, PassContext
from controller.compress.recipe import PassStep
from controller.convert.onnx_io import constant_tensors, parse_onnx
from controller.convert.tflite import constant, parse_tflite
from controller.models.folder import ModelFolder

NETWORK = "efficientnet-lite0"
CLASSES = 100
SAMPLES = 4
ONNX_INT8 = {"quantize_static": {"scheme": "u8u8"}}
TFLITE_INT8 = {"tflite_quantize": {"mode": "static"}}


@dataclass(frozen=True)
class Pair:
    """A change. changed_bytes: of the constant tensors that it changed. weights_kept: every tensor of two axes or more
    is as it was."""

    network: str
    change: str
    before: Files
    after: Files
    changed_bytes: int
    weights_kept: bool


@dataclass(frozen=True)
class Bench:
    """Where pairs are made."""

    cache: PassCache
    folder: Path


def network_pairs(python: Path | None, state: Path, bench: Bench) -> Iterator[Pair] | str:
    """Return the pairs of EfficientNet-Lite0, or why there are none."""
    found = next(each for each in package_subjects(python, state, lambda _: None) if each.name == NETWORK)
    model = found.sources["torch"]
    if isinstance(model, str):
        return model
    return _of_network(model, bench)


def reference_pairs(bench: Bench) -> Iterator[Pair]:
    """Yield the pairs of the reference models that classify."""
    for name in ("leaf_outline", "fashion"):
        model = ModelFolder.load(repository() / "models" / name)
        path = model.file("onnx")
        yield _onnx_pair(name, "head, float", [path, _saved(with_head(parse_onnx(path), None), bench, f"{name}-head")])


def _of_network(model: ModelFolder, bench: Bench) -> Iterator[Pair]:
    whole = parse_onnx(model.file("onnx"))
    heads = [_saved(with_head(whole, range(first, first + CLASSES)), bench, f"head-{first}") for first in (0, CLASSES)]
    yield _onnx_pair(NETWORK, "head, float", heads)
    quantised = [_made(Artifact("onnx", path), ONNX_INT8, 1, bench) for path in heads]
    yield _onnx_pair(NETWORK, "head, int8", quantised)
    again = _made(Artifact("onnx", heads[0]), ONNX_INT8, 2, bench)
    yield _onnx_pair(NETWORK, "calibration, int8", [quantised[0], again])
    kept = _saved(with_weights_of(parse_onnx(again), parse_onnx(quantised[0])), bench, "weights-kept")
    yield _onnx_pair(NETWORK, "calibration, int8, weights kept", [quantised[0], kept])
    lite = model.root / "conversions" / "tflite-float" / "model.tflite"
    if lite.is_file():
        made = [_made(Artifact("tflite", lite), TFLITE_INT8, seed, bench) for seed in (1, 2)]
        yield _tflite_pair(NETWORK, "calibration, int8 (TFLite)", made)


def with_head(model: onnx.ModelProto, classes: range | None) -> onnx.ModelProto:
    """Return a copy of the model with other weights in its last layer.

    Args:
        model: A classifier whose last layer has its outputs along one axis of its weights.
        classes: Those that stay; null: all, each with the weights of the next.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    tensors = {tensor.name: tensor for tensor in copy.graph.initializer}
    last = next(node for node in reversed(copy.graph.node) if node.op_type in ("Gemm", "MatMul", "Conv"))
    add = [node for node in copy.graph.node if last.output[0] in node.input and node.op_type == "Add"]
    names = [name for node in (last, *add) for name in node.input if name in tensors]
    outputs = copy.graph.output[0].type.tensor_type.shape.dim[-1].dim_value
    for name in names:
        value = numpy_helper.to_array(tensors[name])
        axis = value.shape.index(outputs)
        other = np.roll(value, 1, axis) if classes is None else np.take(value, list(classes), axis)
        tensors[name].CopyFrom(numpy_helper.from_array(np.ascontiguousarray(other), name))
    if classes is not None:
        copy.graph.output[0].type.tensor_type.shape.dim[-1].dim_value = len(classes)
        del copy.graph.value_info[:]
    return copy


def with_weights_of(model: onnx.ModelProto, other: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy of the model with the weights of another: its tensors of two axes or more."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    known = {tensor.name: tensor for tensor in other.graph.initializer}
    for tensor in copy.graph.initializer:
        if len(tensor.dims) > 1:
            tensor.CopyFrom(known[tensor.name])
    return copy


def _saved(model: onnx.ModelProto, bench: Bench, name: str) -> Path:
    path = bench.folder / f"{name}.onnx"
    onnx.save(model, path)
    return path


def _made(artifact: Artifact, step: dict[str, Any], seed: int, bench: Bench) -> Path:
    """Return the file that a pass makes after looking at the samples of `seed`."""
    ((name, parameters),) = step.items()
    asked = PassStep.model_validate({name: parameters})
    folder = bench.folder / f"{artifact.path.stem}-{artifact.format}-{seed}"
    folder.mkdir(parents=True)
    calibration = folder / "inputs.npy"
    np.save(calibration, _pictures(seed))
    context = PassContext(folder, bench.cache, calibration, f"distribution {artifact.format} {seed}")
    return find_pass(asked.name).run(artifact, asked.parameters, context).path


def _pictures(seed: int) -> NDArray[np.float32]:
    """Return patches of colour with some noise, of another contrast each, (SAMPLES, 3, 224, 224)."""
    random = np.random.default_rng(seed)
    coarse = random.normal(size=(SAMPLES, 3, 14, 14)).repeat(16, axis=2).repeat(16, axis=3)
    pictures = (coarse + 0.2 * random.normal(size=coarse.shape)) * random.uniform(0.3, 1.0, (SAMPLES, 1, 1, 1))
    return np.clip(pictures, -1, 1).astype(np.float32)


def _onnx_pair(network: str, change: str, paths: list[Path]) -> Pair:
    tensors = [{one.name: numpy_helper.to_array(one) for one in constant_tensors(parse_onnx(path))} for path in paths]
    return _pair(network, change, "model.onnx", [path.read_bytes() for path in paths], tensors)


def _tflite_pair(network: str, change: str, paths: list[Path]) -> Pair:
    tensors = []
    for path in paths:
        model = parse_tflite(path.read_bytes(), path)
        known = [(each.name, constant(model, each)) for graph in model.subgraphs for each in graph.tensors]
        tensors.append({str(name): value for name, value in known if value is not None})
    return _pair(network, change, "model.tflite", [path.read_bytes() for path in paths], tensors)


def _pair(network: str, change: str, file: str, contents: list[bytes], tensors: list[dict[str, Any]]) -> Pair:
    before, after = tensors
    changed = [
        value for name, value in after.items() if name not in before or before[name].tobytes() != value.tobytes()
    ]
    random = np.random.default_rng(5)
    shape = (SAMPLES, 3, 224, 224) if network == NETWORK else (SAMPLES, 1, 28, 28)
    inputs = npy_bytes(random.normal(size=shape).astype(np.float32))
    outputs = [npy_bytes(random.normal(size=(SAMPLES, CLASSES)).astype(np.float32)) for _ in contents]
    files = [
        {file: content, "golden_inputs.npy": inputs, "golden_outputs.npy": output}
        for content, output in zip(contents, outputs, strict=True)
    ]
    kept = all(value.ndim < 2 for value in changed)
    return Pair(network, change, files[0], files[1], sum(value.nbytes for value in changed), kept)
