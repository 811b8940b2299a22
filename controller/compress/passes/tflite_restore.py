"""Restore the float weights of a TFLite file whose weights alone are stored in fewer bits.

Decides: which files can be restored: those that compute in float32 on weights of 16 or 8 bits, so that they can be
quantised in another way. Leaves out: files whose activations are integers; what those lost is not in the file. What the
weights lost by rounding stays lost.

    Path("float.tflite").write_bytes(restored(Path("half.tflite")))
"""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from controller.compress.passes.base import Artifact, Capabilities, needs_float
from controller.convert.tflite import constant, operator_name, parse_tflite

RESTORABLE = ("float16", "int8-weights", "int8-dynamic")
"""Precisions, as `TfliteFacts` has them."""


def needs_restorable(name: str, capabilities: Capabilities, artifact: Artifact) -> str | None:
    """Return why a pass that takes float TFLite files cannot be used, or None."""
    stored = artifact.precision in RESTORABLE
    because = needs_float(name, "tflite", capabilities, replace(artifact, precision="float32") if stored else artifact)
    if because and artifact.format == "tflite" and artifact.precision == "int8":
        return f"{because}: import the float file, what its activations lost is not in this one"
    return because


def restored(path: Path) -> bytes:
    """Return the file with its weights as float32.

    Raises:
        UnusableModel: Not a TFLite file.
    """
    import flatbuffers

    model = parse_tflite(path.read_bytes(), path)
    for index, graph in enumerate(model.subgraphs):
        _restore_operators(model, graph)
        _restore_direct(model, graph)
        _drop_unused(model, graph, index)
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _restore_operators(model: Any, graph: Any) -> None:
    """Put numbers where a DEQUANTIZE of a constant stood, and take the operator out."""
    kept = []
    for operator in graph.operators:
        source = graph.tensors[operator.inputs[0]] if len(operator.inputs) else None
        values = constant(model, source) if source is not None else None
        if values is None or operator_name(model, operator) != "DEQUANTIZE":
            kept.append(operator)
            continue
        _write(model, graph.tensors[operator.outputs[0]], _real(values, source))
    graph.operators = kept


def _restore_direct(model: Any, graph: Any) -> None:
    """Restore weights of 8 bits that an operator reads beside float activations."""
    from ai_edge_litert import schema_py_generated as schema

    for operator in graph.operators:
        tensors = [graph.tensors[index] for index in operator.inputs if index >= 0]
        if not tensors or tensors[0].type != schema.TensorType.FLOAT32:
            continue
        for tensor in tensors[1:]:
            values = constant(model, tensor)
            if values is not None and values.dtype == np.int8 and tensor.quantization is not None:
                _write(model, tensor, _real(values, tensor))
    _clear_hybrid(graph)


def _real(values: NDArray[Any], tensor: Any) -> NDArray[np.float32]:
    """Return the numbers that stored ones stand for."""
    affine = tensor.quantization
    if values.dtype.kind == "f" or affine is None or affine.scale is None or len(affine.scale) == 0:
        return values.astype(np.float32)
    shape = [int(size) for size in tensor.shape]
    across = [1] * len(shape)
    axis = int(affine.quantizedDimension)
    if len(affine.scale) > 1:
        across[axis] = shape[axis]
    scale = np.asarray(affine.scale, np.float32).reshape(across if len(affine.scale) > 1 else [1] * len(shape))
    zero = np.asarray(affine.zeroPoint if affine.zeroPoint is not None else [0] * len(affine.scale), np.float32)
    return np.asarray((values.reshape(shape).astype(np.float32) - zero.reshape(scale.shape)) * scale, np.float32)


def _write(model: Any, tensor: Any, values: NDArray[np.float32]) -> None:
    from ai_edge_litert import schema_py_generated as schema

    shared = Counter(one.buffer for graph in model.subgraphs for one in graph.tensors)
    if tensor.buffer == 0 or shared[tensor.buffer] > 1:
        model.buffers.append(schema.BufferT())
        tensor.buffer = len(model.buffers) - 1
    model.buffers[tensor.buffer].data = np.frombuffer(values.astype("<f4").tobytes(), np.uint8)
    tensor.type, tensor.quantization = schema.TensorType.FLOAT32, None


def _drop_unused(model: Any, graph: Any, index: int) -> None:
    """Take out tensors that nothing reads or writes any more: the quantiser would ask for what they hold."""
    fields = ("inputs", "outputs", "intermediates")
    lists = [getattr(each, field) for each in (graph, *graph.operators) for field in fields if hasattr(each, field)]
    used = {int(place) for places in lists if places is not None for place in places if place >= 0}
    dropped = {tensor.buffer for place, tensor in enumerate(graph.tensors) if place not in used}
    moved = {old: new for new, old in enumerate(sorted(used))} | {-1: -1}
    graph.tensors = [graph.tensors[place] for place in sorted(used)]
    for number in dropped - {tensor.buffer for other in model.subgraphs for tensor in other.tensors}:
        model.buffers[number].data = None
    for each in (graph, *graph.operators):
        for field in fields:
            if getattr(each, field, None) is not None:
                setattr(each, field, [moved[int(place)] for place in getattr(each, field)])
    for signature in model.signatureDefs or ():
        if signature.subgraphIndex == index:
            for place in (*signature.inputs, *signature.outputs):
                place.tensorIndex = moved[place.tensorIndex]


def _clear_hybrid(graph: Any) -> None:
    """Float weights are not quantised while running: the options that ask for it go."""
    for operator in graph.operators:
        options = operator.builtinOptions
        if hasattr(options, "asymmetricQuantizeInputs"):
            options.asymmetricQuantizeInputs = False
