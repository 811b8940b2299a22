"""Outputs of an ONNX model, the same on every processor.

Decides: that nothing is fused: operators compute in float between Quantize and Dequantize, so that no 8-bit kernel
saturates here and not on the device. Leaves out: speed, which this says nothing of.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from controller.compress.calibrate.stream import Feed

if TYPE_CHECKING:
    import onnx

Outputs = list[NDArray[np.float64]]


def outputs(model: Path | onnx.ModelProto, feed: Feed, names: Sequence[str] | None = None) -> Outputs:
    """Return the model's outputs for each sample of a feed, samples first; models of one input without state.

    Args:
        model: A file, or a model in memory.
        feed: Samples, shape (n, ...).
        names: Which outputs; all that the model has when left out.
    """
    return [np.concatenate(each).astype(np.float64) for each in zip(*_answers(model, feed, names), strict=True)]


def values(model: onnx.ModelProto, feed: Feed, names: Sequence[str]) -> Iterator[dict[str, NDArray[np.float64]]]:
    """Yield what stands on some of a model's wires, one sample after the other: no more is held.

    Args:
        model: Not changed.
        feed: Samples.
        names: Of values; each once.
    """
    import onnx
    from onnx import helper

    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    del watched.graph.output[:]
    watched.graph.output.extend(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in names)
    for found in _answers(watched, feed, names):
        yield {name: each.astype(np.float64) for name, each in zip(names, found, strict=True)}


def _answers(model: Path | onnx.ModelProto, feed: Feed, names: Sequence[str] | None) -> Iterator[list[NDArray[Any]]]:
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = feed.threads
    options.log_severity_level = 3
    content = model.read_bytes() if isinstance(model, Path) else model.SerializeToString()
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    source = feed.name or session.get_inputs()[0].name
    for sample in feed.inputs:
        yield session.run(names, {source: np.ascontiguousarray(sample[None], dtype=np.float32)})


def sqnr_db(wanted: Outputs, given: Outputs) -> float:
    """Return the signal to quantisation noise ratio over all outputs [dB]; infinite where they are equal."""
    signal = sum(float((each**2).sum()) for each in wanted)
    noise = sum(float(((each - other) ** 2).sum()) for each, other in zip(wanted, given, strict=True))
    return float("inf") if noise == 0 else float(10 * np.log10(max(signal, 1e-30) / noise))
