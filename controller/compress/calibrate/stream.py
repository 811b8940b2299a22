"""Observe the activations of an ONNX model batch by batch.

Decides: which tensors are observed and how: minmax by ReduceMin and ReduceMax inside the graph, percentile by a second
run that counts into histograms of fixed size. ONNX Runtime's own calibrators keep every activation of every sample;
here one batch is all that is ever held. Leaves out: what is done with the ranges (`passes/quantize_static.py`).

    observe(Path("m.onnx"), inputs, percentile=None)["relu_1"]  # Range(low=0.0, high=5.1)
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from controller.compress.calibrate.ranges import Histogram, Range, linear_parameters
from controller.errors import UnusableModel

if TYPE_CHECKING:
    import onnx

LARGEST_BATCH = 8
_LOW, _HIGH, _SUM = "thresher_low_", "thresher_high_", "thresher_sum_"
"""Prefixes of the added outputs. The sum is there for its NaN: the engine's minimum and maximum skip over one."""

Inputs = NDArray[np.float32]


@dataclass(frozen=True)
class _Feed:
    """Samples, the name of the input that takes them, and which output is the next state of which input."""

    inputs: Inputs
    name: str | None
    state: Mapping[str, str]


def observe(
    path: Path,
    inputs: Inputs,
    percentile: float | None,
    threads: int = 1,
    *,
    name: str | None = None,
    state: Mapping[str, str] | None = None,
) -> dict[str, Range]:
    """Return the range of every activation that a static quantisation may need.

    Args:
        path: Float model with its shapes inferred.
        inputs: Model inputs, shape (n, ...), n >= 1; a memory map is read batch by batch.
        percentile: Share of the values to keep, in (50, 100]; None keeps all (minmax).
        threads: Threads of the engine.
        name: The input that takes the samples; the first where it is null.
        state: Input -> output that goes into it for the next sample. The samples are then one stream, in their order:
            a state that stays fresh would have no range.
    Raises:
        UnusableModel: An activation is NaN or infinite for some sample; the text names the tensor.
    """
    import onnx

    model = onnx.load(path)
    names = observed_tensors(model)
    feed = _Feed(inputs, name, state or {})
    extremes = _minmax(model, names, feed, threads)
    _check(extremes)
    if percentile is None:
        return extremes
    return _percentiles(model, extremes, feed, percentile, threads)


def observed_tensors(model: onnx.ModelProto) -> list[str]:
    """Return the float activations that operators with an int8 form read or write, each once, in graph order."""
    import onnx
    from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry

    quantisable = set(QDQRegistry) | set(QLinearOpsRegistry)
    values = (*model.graph.value_info, *model.graph.input, *model.graph.output)
    floats = {value.name for value in values if value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT}
    weights = {tensor.name for tensor in model.graph.initializer}
    read = [
        name
        for operator in model.graph.node
        if operator.op_type in quantisable
        for name in (*operator.input, *operator.output)
        if name in floats and name not in weights
    ]
    return list(dict.fromkeys(read))


def _minmax(model: onnx.ModelProto, names: Sequence[str], feed: _Feed, threads: int) -> dict[str, Range]:
    """Run all batches through the graph that reduces each tensor to its extremes itself."""
    ranges: dict[str, Range] = {}
    for outputs in _run(_with_extremes(model, names, feed), feed, threads):
        for name in names:
            spoilt = np.isnan(outputs[_SUM + name])
            seen = Range(float(outputs[_LOW + name]), float("nan") if spoilt else float(outputs[_HIGH + name]))
            # `max` drops a NaN that comes second: keep it, so that the check sees it.
            ranges[name] = seen if name not in ranges or not seen.finite else ranges[name].merged(seen)
    return ranges


def _percentiles(
    model: onnx.ModelProto, extremes: dict[str, Range], feed: _Feed, percentile: float, threads: int
) -> dict[str, Range]:
    histograms = {name: Histogram(extreme) for name, extreme in extremes.items()}
    for outputs in _run(_with_outputs(model, list(extremes), feed), feed, threads):
        for name, histogram in histograms.items():
            histogram.add(outputs[name])
    return {name: histogram.percentile_range(percentile) for name, histogram in histograms.items()}


def _check(ranges: dict[str, Range]) -> None:
    for name, seen in ranges.items():
        try:
            linear_parameters(seen.low, seen.high, 0, 255)
        except ValueError as exc:
            raise UnusableModel(f"activation {name!r} is not finite over the calibration samples ({exc})") from exc


def _with_extremes(model: onnx.ModelProto, names: Sequence[str], feed: _Feed) -> onnx.ModelProto:
    import onnx

    augmented = onnx.ModelProto()
    augmented.CopyFrom(model)
    del augmented.graph.output[:]
    for name in names:
        for operator, prefix in (("ReduceMin", _LOW), ("ReduceMax", _HIGH), ("ReduceSum", _SUM)):
            augmented.graph.node.append(onnx.helper.make_node(operator, [name], [prefix + name], keepdims=0))
            output = onnx.helper.make_tensor_value_info(prefix + name, onnx.TensorProto.FLOAT, [])
            augmented.graph.output.append(output)
    _give_state(augmented, model, feed)
    return augmented


def _with_outputs(model: onnx.ModelProto, names: Sequence[str], feed: _Feed) -> onnx.ModelProto:
    import onnx

    augmented = onnx.ModelProto()
    augmented.CopyFrom(model)
    del augmented.graph.output[:]
    for name in names:
        augmented.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    _give_state(augmented, model, feed)
    return augmented


def _give_state(augmented: onnx.ModelProto, model: onnx.ModelProto, feed: _Feed) -> None:
    """Let the graph give the state too, where it does not yet."""
    there = {output.name for output in augmented.graph.output}
    given = [output for output in model.graph.output if output.name in {*feed.state.values()} - there]
    augmented.graph.output.extend(given)


def _run(model: onnx.ModelProto, feed: _Feed, threads: int) -> Iterator[dict[str, Any]]:
    """Yield the outputs of each batch. Graph optimisation is off: it would fuse the observed tensors away."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnx
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    with TemporaryDirectory(prefix="thresher-calibrate-") as folder:
        path = Path(folder) / "augmented.onnx"
        onnx.save(model, path)
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        every, inputs = session.get_inputs(), feed.inputs
        source = next((value for value in every if value.name == feed.name), every[0])
        state = {value.name: _zeros(value) for value in every if value.name in feed.state}
        outputs = [output.name for output in session.get_outputs()]
        fixed = isinstance(source.shape[0], int)
        size = source.shape[0] if fixed else 1 if state else LARGEST_BATCH
        for start in range(0, len(inputs) - len(inputs) % size if fixed else len(inputs), size):
            batch = np.ascontiguousarray(inputs[start : start + size], dtype=np.float32)
            given = dict(zip(outputs, session.run(outputs, {source.name: batch, **state}), strict=True))
            state = {name: given[feed.state[name]] for name in state}
            yield given


def _zeros(value: Any) -> NDArray[Any]:
    """Return state as a stream begins with it; a free axis is the batch, 1."""
    dtype = np.float16 if value.type == "tensor(float16)" else np.float32
    return np.zeros([axis if isinstance(axis, int) else 1 for axis in value.shape], dtype)
