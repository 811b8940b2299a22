"""Small models with seeded weights and the series they are fitted to: seconds to make, real enough to quantise."""

import platform
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from agent.device.cpu import instruction_sets

LENGTH, CLASSES = 64, 3
FREQUENCIES = (2, 5, 9)

Array = NDArray[np.float32]


def series(count: int, seed: int) -> tuple[Array, NDArray[np.int64]]:
    """Return noisy sines of three frequencies: inputs (count, 1, 64), labels (count,)."""
    random = np.random.default_rng(seed)
    labels = np.arange(count, dtype=np.int64) % CLASSES
    phase = random.uniform(0, 2 * np.pi, (count, 1))
    time = np.arange(LENGTH) / LENGTH
    waves = np.sin(2 * np.pi * np.array(FREQUENCIES)[labels][:, None] * time + phase)
    noisy = waves + random.normal(0, 0.3, waves.shape)
    return noisy.astype(np.float32)[:, None, :], labels


def conv_model(batch: str | int = "batch") -> onnx.ModelProto:
    """Return convolutions with random filters, batch normalisation, and a head fitted by least squares."""
    random = np.random.default_rng(1)
    weights: dict[str, NDArray[Any]] = {
        "w1": random.normal(0, 0.5, (8, 1, 5)),
        "b1": random.normal(0, 0.1, 8),
        "gamma": random.uniform(0.5, 1.5, 8),
        "beta": random.normal(0, 0.1, 8),
        "mean": random.normal(0, 0.1, 8),
        "variance": random.uniform(0.5, 1.5, 8),
        "w2": random.normal(0, 0.3, (16, 8, 5)),
        "b2": random.normal(0, 0.1, 16),
        "head": np.zeros((CLASSES, 16)),
        "bias": np.zeros(CLASSES),
    }
    inputs, labels = series(240, seed=7)
    features = run(_model(weights, "pooled", [batch, 16, 1], batch), inputs).reshape(len(inputs), -1)
    design = np.hstack([features, np.ones((len(features), 1))])
    fitted = np.linalg.lstsq(design, 4.0 * np.eye(CLASSES)[labels], rcond=None)[0]
    weights |= {"head": fitted[:-1].T, "bias": fitted[-1]}
    return _model(weights, "logits", [batch, CLASSES], batch)


def _model(weights: dict[str, NDArray[Any]], output: str, shape: list[Any], batch: str | int) -> onnx.ModelProto:
    operators = [
        helper.make_node("Conv", ["series", "w1", "b1"], ["c1"], name="conv_1", pads=[2, 2]),
        helper.make_node("BatchNormalization", ["c1", "gamma", "beta", "mean", "variance"], ["n1"], name="norm_1"),
        helper.make_node("Relu", ["n1"], ["r1"], name="relu_1"),
        helper.make_node("Conv", ["r1", "w2", "b2"], ["c2"], name="conv_2", pads=[2, 2]),
        helper.make_node("Relu", ["c2"], ["r2"], name="relu_2"),
        helper.make_node("GlobalAveragePool", ["r2"], ["pooled"], name="pool"),
        helper.make_node("Flatten", ["pooled"], ["flat"], name="flatten"),
        helper.make_node("Gemm", ["flat", "head", "bias"], ["logits"], name="head_1", transB=1),
    ]
    graph = helper.make_graph(
        operators,
        "small",
        [helper.make_tensor_value_info("series", TensorProto.FLOAT, [batch, 1, LENGTH])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def run(model: onnx.ModelProto | Path, inputs: Array) -> Array:
    """Return the first output of ONNX Runtime, one sample at a time."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    content = model.read_bytes() if isinstance(model, Path) else model.SerializeToString()
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return np.concatenate([session.run(None, {name: sample[None]})[0] for sample in inputs]).astype(np.float32)


MODEL_YAML = """\
schema: 1
name: small
version: "1"
kind: classification
formats:
  onnx: {file: small.onnx, layout: NCL}
pre: {kind: series, channels: 1, length: 64, normalise: {method: z_score, statistics: window}}
post: {kind: classification, labels: [slow, middle, fast]}
data: {npz: samples.npz, train_inputs: train_inputs, train_labels: train_labels}
"""


def write_folder(root: Path, yaml: str = MODEL_YAML) -> Path:
    """Write a model folder with the small model and its samples."""
    root.mkdir(parents=True, exist_ok=True)
    onnx.save(conv_model(), root / "small.onnx")
    train, test = series(120, seed=2), series(90, seed=3)
    np.savez(root / "samples.npz", inputs=test[0], labels=test[1], train_inputs=train[0], train_labels=train[1])
    (root / "model.yaml").write_text(yaml)
    return root


def sums_are_exact() -> bool:
    """Return whether this processor adds products of 8-bit numbers without saturating on the way.

    x86 without VNNI adds pairs of them in 16 bits (ONNX Runtime's documentation names it): unsigned activations with
    8-bit signed weights, and signed ones that become unsigned, lose their largest sums there.
    """
    return platform.machine() != "x86_64" or bool({"avx512_vnni", "avx_vnni"} & set(instruction_sets()))
