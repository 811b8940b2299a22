"""Scales of channels whose weights are next to nothing, so that their biases fit into 32 bits.

A network with batch normalisation folded in has channels that compute nothing but their bias: weights of 1e-7 beside a
bias of 1. A scale that suits such weights makes the bias, which integer kernels count in steps of input scale times
weight scale, larger than 32 bits hold. Weights that are exactly 0 get a scale of 1 from ONNX Runtime's quantiser, and
then the bias is rounded to the input's own steps.

Decides: that a bias takes at most 30 bits and its step at most a 2**-16 of it. Leaves out: all other channels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from controller.compress.weights.operators import replace_values, values_of

if TYPE_CHECKING:
    import onnx

MOST, LEAST = 2.0**30, 2.0**16
"""Levels of a bias, where its channel's weights leave the choice."""
QUANTISED = "_quantized"
Array = NDArray[Any]


def mend_dead_channels(model: onnx.ModelProto, plain: onnx.ModelProto) -> int:
    """Change scales, weights and biases of such channels in a QDQ model in place; return how many there were.

    Args:
        model: As ONNX Runtime's quantiser writes it.
        plain: The float model that it was made of, constants as initialisers.
    """
    made = {each.output[0]: each for each in model.graph.node if each.op_type == "DequantizeLinear"}
    known, count = {each.name for each in plain.graph.initializer}, 0
    for operator in model.graph.node:
        ends = [made.get(name) for name in operator.input[:3]]
        if operator.op_type not in ("Conv", "Gemm") or len(ends) < 3 or None in ends:
            continue
        source, weight, bias = (each for each in ends if each is not None)
        if bias.input[0].removesuffix(QUANTISED) in known:
            count += _mended(model, (source, weight, bias), values_of(plain, bias.input[0].removesuffix(QUANTISED)))
    return count


def _mended(model: onnx.ModelProto, ends: tuple[onnx.NodeProto, ...], bias: Array) -> int:
    source, weight, _ = ends
    scales, step = values_of(model, weight.input[1]), float(values_of(model, source.input[1]).reshape(-1)[0])
    if scales.size != bias.size or scales.size < 2:
        return 0
    levels = np.abs(bias.astype(np.float64)) / (step * scales.astype(np.float64))
    zero = values_of(model, weight.input[2]) if len(weight.input) > 2 else np.zeros(scales.size, np.int8)
    whole = values_of(model, weight.input[0])
    axis = next((each.i for each in weight.attribute if each.name == "axis"), 0)
    rows = np.moveaxis(whole, axis, 0)
    empty = (rows.reshape(len(rows), -1) == zero.reshape(-1, 1)).all(axis=1)
    chosen = (levels > MOST) | (empty & (levels < LEAST) & (bias != 0))
    if chosen.any():
        wider = np.where(chosen, np.abs(bias) / (step * np.where(levels > MOST, MOST, LEAST * 16)), scales)
        _write(model, ends, wider.astype(np.float32), bias, chosen)
    return int(chosen.sum())


def _write(
    model: onnx.ModelProto, ends: tuple[onnx.NodeProto, ...], wider: Array, bias: Array, chosen: NDArray[np.bool_]
) -> None:
    """Store weights, biases and both scales of the chosen channels anew."""
    source, weight, stored = ends
    before, step = values_of(model, weight.input[1]), values_of(model, source.input[1]).reshape(-1)[0]
    axis = next((each.i for each in weight.attribute if each.name == "axis"), 0)
    rows = np.moveaxis(values_of(model, weight.input[0]), axis, 0).copy()
    zero = values_of(model, weight.input[2]) if len(weight.input) > 2 else np.zeros(len(rows), rows.dtype)
    limits, levels = np.iinfo(rows.dtype), values_of(model, stored.input[0]).copy()
    for place in np.flatnonzero(chosen):
        real = (rows[place].astype(np.float64) - int(zero[place])) * float(before[place])
        rows[place] = np.clip(np.round(real / float(wider[place])) + int(zero[place]), limits.min, limits.max)
        levels[place] = round(float(bias[place]) / (float(step) * float(wider[place])))
    replace_values(model, weight.input[0], np.moveaxis(rows, 0, axis))
    replace_values(model, weight.input[1], wider)
    replace_values(model, stored.input[0], levels)
    replace_values(model, stored.input[1], np.where(chosen, step * wider, values_of(model, stored.input[1])))
