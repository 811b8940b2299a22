"""Observe the activations of an ONNX model batch by batch.

Decides: which tensors are observed and how: extremes by ReduceMin and ReduceMax inside the graph, the other methods by
a second run that counts into histograms of fixed size, which they share. ONNX Runtime's own calibrators keep every
activation of every sample; here one batch is all that is ever held. Leaves out: what a method makes of a histogram
(`clipping.py`), and what is done with the ranges (`passes/quantize_static.py`).

    observe(Path("m.onnx"), inputs, Method("minmax"))["relu_1"]  # Range(low=0.0, high=5.1)
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from controller.compress.calibrate.clipping import Method
from controller.compress.calibrate.ranges import Histogram, Range, linear_parameters
from controller.errors import UnusableModel

if TYPE_CHECKING:
    import onnx

LARGEST_BATCH = 8
MOMENTUM = 0.1
_LOW, _HIGH, _SUM = "thresher_low_", "thresher_high_", "thresher_sum_"
"""Prefixes of the added outputs. The sum is there for its NaN: the engine's minimum and maximum skip over one."""

Inputs = NDArray[np.float32]


@dataclass(frozen=True)
class Feed:
    """What is observed on.

    inputs: model inputs, shape (n, ...), n >= 1; a memory map is read batch by batch. name: the input that takes them;
    null: the first. state: input -> output that goes into it for the next sample. The samples are then one stream, in
    their order: a state that stays fresh would have no range. threads: of the engine.
    """

    inputs: Inputs
    name: str | None = None
    state: Mapping[str, str] = field(default_factory=dict)
    threads: int = 1


def observe(path: Path, feed: Feed, method: Method) -> dict[str, Range]:
    """Return the range of every activation that a static quantisation may need.

    Args:
        path: Float model with its shapes inferred.
        feed: What goes in.
        method: How a range follows from the values.
    Raises:
        UnusableModel: An activation is NaN or infinite for some sample; the text names the tensor.
    """
    seen = extremes(path, feed, moving=method.name == "moving_average")
    if not method.counts:
        return seen
    return {name: method.range_of(each) for name, each in histograms(path, feed, seen).items()}


def extremes(path: Path, feed: Feed, *, moving: bool = False) -> dict[str, Range]:
    """Return the smallest and largest value of every activation.

    Args:
        path: As for `observe`.
        feed: What goes in.
        moving: A tenth of the way to each batch's extremes, from the first one's: single outliers count less.
    Raises:
        UnusableModel: As `observe`.
    """
    import onnx

    model = onnx.load(path)
    ranges: dict[str, Range] = {}
    names = observed_tensors(model)
    for outputs in _run(_with_extremes(model, names, feed), feed):
        for name in names:
            spoilt = np.isnan(outputs[_SUM + name])
            seen = Range(float(outputs[_LOW + name]), float("nan") if spoilt else float(outputs[_HIGH + name]))
            # `max` drops a NaN that comes second: keep it, so that the check sees it.
            known = ranges.get(name)
            if known is None or not seen.finite:
                ranges[name] = seen
            elif known.finite:
                ranges[name] = known.moved(seen, MOMENTUM) if moving else known.merged(seen)
    _check(ranges)
    return ranges


def histograms(path: Path, feed: Feed, over: Mapping[str, Range]) -> dict[str, Histogram]:
    """Return how the values of every activation are spread over its extremes."""
    import onnx

    found = {name: Histogram(extreme) for name, extreme in over.items()}
    for outputs in _run(_with_outputs(onnx.load(path), list(over), feed), feed):
        for name, histogram in found.items():
            histogram.add(outputs[name])
    return found


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


def _check(ranges: dict[str, Range]) -> None:
    for name, seen in ranges.items():
        try:
            linear_parameters(seen.low, seen.high, 0, 255)
        except ValueError as exc:
            raise UnusableModel(f"activation {name!r} is not finite over the calibration samples ({exc})") from exc


def _with_extremes(model: onnx.ModelProto, names: Sequence[str], feed: Feed) -> onnx.ModelProto:
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


def _with_outputs(model: onnx.ModelProto, names: Sequence[str], feed: Feed) -> onnx.ModelProto:
    import onnx

    augmented = onnx.ModelProto()
    augmented.CopyFrom(model)
    del augmented.graph.output[:]
    for name in names:
        augmented.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    _give_state(augmented, model, feed)
    return augmented


def _give_state(augmented: onnx.ModelProto, model: onnx.ModelProto, feed: Feed) -> None:
    """Let the graph give the state too, where it does not yet."""
    there = {output.name for output in augmented.graph.output}
    given = [output for output in model.graph.output if output.name in {*feed.state.values()} - there]
    augmented.graph.output.extend(given)


def _run(model: onnx.ModelProto, feed: Feed) -> Iterator[dict[str, Any]]:
    """Yield the outputs of each batch. Graph optimisation is off: it would fuse the observed tensors away."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnx
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = feed.threads
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
