"""Bias correction: rounding shifts an operator's mean output by what the weights moved times its mean input.

    corrected, count = correct_biases(quantised, float_model, feed)

Decides: the correction, from means over the calibration samples: b - (W_q - W) E[x]. Nagel et al. 2019, section 4.2,
with measured means in place of those of batch normalisation. Leaves out: operators without a bias of their own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from controller.compress.calibrate.stream import Feed
from controller.compress.quantised.emulated import values
from controller.compress.weights.operators import Weighted, replace_values, values_of, weighted

if TYPE_CHECKING:
    import onnx

LARGEST_BIAS = 2**31 - 1
Values = NDArray[np.float64]


def correct_biases(quantised: onnx.ModelProto, plain: onnx.ModelProto, feed: Feed) -> tuple[onnx.ModelProto, int]:
    """Return the quantised model with corrected biases, and how many there are.

    Args:
        quantised: QDQ, made of `plain` by ONNX Runtime's quantiser: its constants have the names that it gives.
        plain: The float model that was quantised; constants among the initialisers.
        feed: Calibration samples.
    """
    import onnx

    changed = onnx.ModelProto()
    changed.CopyFrom(quantised)
    constants = {each.name for each in changed.graph.initializer}
    own = [each for each in weighted(plain) if _names(plain, each) <= constants]
    means = _mean_inputs(plain, own, feed)
    for each in own:
        _correct(changed, each, plain, means[each.index])
    return changed, len(own)


def _names(plain: onnx.ModelProto, each: Weighted) -> set[str]:
    """Return the constants that a quantised operator with a bias has."""
    inputs = plain.graph.node[each.index].input
    if len(inputs) < 3 or not inputs[2]:
        return {""}  # it has no bias: no model has a constant without a name
    weight, bias = (f"{name}_quantized" for name in inputs[1:3])
    return {weight, bias, f"{inputs[1]}_scale", f"{bias}_scale"}


def _mean_inputs(plain: onnx.ModelProto, own: list[Weighted], feed: Feed) -> dict[int, Values]:
    """Return operator -> the mean of what it reads, for each input channel, over samples and places."""
    # A convolution's channels are its second axis, a product's the last.
    read = {each.index: (plain.graph.node[each.index].input[0], 1 if each.kind == "Conv" else -1) for each in own}
    sums: dict[tuple[str, int], Values] = {}
    names = list(dict.fromkeys(name for name, _ in read.values()))
    for seen in values(plain, feed, names) if names else ():
        for name, axis in set(read.values()):
            rows = np.moveaxis(seen[name], axis, 0).reshape(seen[name].shape[axis], -1)
            sums[name, axis] = sums.get((name, axis), np.zeros(len(rows))) + rows.mean(axis=1)
    return {index: sums[wire] / len(feed.inputs) for index, wire in read.items()}


def _correct(changed: onnx.ModelProto, each: Weighted, plain: onnx.ModelProto, mean: Values) -> None:
    weight, bias = plain.graph.node[each.index].input[1:3]
    before = values_of(plain, weight).astype(np.float64)
    moved = each.matrix(_dequantised(changed, weight, before.ndim, each.made) - before)
    shift = _along(moved, each, before.shape, mean)
    name = f"{bias}_quantized"
    scale = values_of(changed, f"{name}_scale").astype(np.float64)
    levels = values_of(changed, name).astype(np.float64) - np.rint(shift / scale)
    replace_values(changed, name, np.clip(levels, -LARGEST_BIAS, LARGEST_BIAS))


def _along(moved: Values, each: Weighted, shape: tuple[int, ...], mean: Values) -> Values:
    """Return by how much each output's mean moved."""
    if each.kind != "Conv":
        return np.asarray(moved @ mean)
    places = moved.reshape(shape[0], shape[1], -1).sum(axis=2)
    if each.groups == 1:
        return np.asarray(places @ mean)
    outputs_each = shape[0] // each.groups
    grouped = mean.reshape(each.groups, -1).repeat(outputs_each, axis=0)
    return np.asarray((places * grouped).sum(axis=1))


def _dequantised(model: onnx.ModelProto, weight: str, rank: int, made: int) -> Values:
    levels = values_of(model, f"{weight}_quantized").astype(np.float64)
    scale = values_of(model, f"{weight}_scale").astype(np.float64)
    zero = values_of(model, f"{weight}_zero_point").astype(np.float64)
    axes = [1] * rank
    axes[made] = -1
    return np.asarray((levels - zero.reshape(axes if zero.ndim else ())) * scale.reshape(axes if scale.ndim else ()))
