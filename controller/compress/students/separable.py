"""Separable convolutions: each channel by itself, then all channels at each place, in place of both at once.

Decides: which convolutions: one group, a kernel of more than one place, more than `LEAST_CHANNELS` input channels, a
weight of their own, not in the stem, and fewer weights afterwards. Between the two stand a normalisation and the
activation that followed. Source: Howard et al., *MobileNets*, 2017. Leaves out: teaching their new weights.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from controller.compress.students.fresh import he_normal
from controller.compress.students.graph import Look, changed, look, without
from controller.compress.students.normalise import normalisation
from controller.compress.students.stems import stem
from controller.errors import UnusableModel

if TYPE_CHECKING:
    import onnx

LEAST_CHANNELS = 4
"""A convolution that reads at most so many gains nothing worth a second operator."""

ACTIVATIONS = frozenset({"Relu", "LeakyRelu", "Clip", "HardSwish", "Elu", "Selu", "Celu", "Gelu", "Mish", "Tanh"})
"""Activations that are one operator and have no number for each channel."""


def separate(model: onnx.ModelProto, seed: int) -> tuple[onnx.ModelProto, str]:
    """Return the model with separable convolutions of fresh weights, and what was done.

    Args:
        model: As `prepared` returns it.
        seed: Of the new weights.
    Raises:
        UnusableModel: No convolution is one to separate.
    """
    seen, first = look(model), {each.output[0] for each in stem(model)}
    convolutions = [each for each in model.graph.node if each.op_type == "Conv"]
    found = [each for each in convolutions if each.output[0] not in first and _dense(each, seen)]
    if not found:
        raise UnusableModel(
            f"separable: none of {len(convolutions)} convolutions has one group, a kernel of more than one place, more "
            f"than {LEAST_CHANNELS} input channels and a weight of its own behind the stem"
        )
    replaced, constants = {}, {}
    for each in found:
        replaced[each.output[0]], own = _separated(each, seen, seed)
        constants.update(own)
    return (
        changed(model, replaced, constants=constants),
        f"separable: {len(found)} of {len(convolutions)} convolutions made depthwise and pointwise, weights fresh",
    )


def _dense(operator: onnx.NodeProto, seen: Look) -> bool:
    weight = seen.constants.get(operator.input[1])
    if weight is None or len(seen.readers[weight.name]) > 1 or weight.name in seen.outputs:
        return False
    made, read, *kernel = weight.dims
    places = math.prod(kernel)
    fewer = read * places + read * made < made * read * places
    return bool(without(operator).get("group", 1) == 1 and places > 1 and read > LEAST_CHANNELS and fewer)


def _separated(
    operator: onnx.NodeProto, seen: Look, seed: int
) -> tuple[list[onnx.NodeProto], dict[str, NDArray[np.float32]]]:
    from onnx import helper

    weight, name, out = operator.input[1], operator.name or operator.output[0], operator.output[0]
    made, read, *kernel = seen.constants[weight].dims
    parts = {"depthwise": (read, 1, *kernel), "pointwise": (made, read, *[1] * len(kernel))}
    constants = {
        f"{weight}_{part}": he_normal(seed, f"{weight}_{part}", shape, math.prod(shape[1:]))
        for part, shape in parts.items()
    }
    steps = {**without(operator, "group", "kernel_shape"), "kernel_shape": kernel, "group": read}
    value = f"{out}_depthwise"
    chain = [
        helper.make_node("Conv", [operator.input[0], f"{weight}_depthwise"], [value], name=f"{name}_depthwise", **steps)
    ]
    between, own = normalisation(value, f"{value}_normalised", read)
    chain.append(between)
    value = between.output[0]
    if (activation := _activation(operator, seen)) is not None:
        chain.append(_copied(activation, value, f"{out}_between"))
        value = f"{out}_between"
    ends: dict[str, Any] = {"kernel_shape": [1] * len(kernel)}
    inputs = [value, f"{weight}_pointwise", *operator.input[2:]]
    chain.append(helper.make_node("Conv", inputs, [out], name=f"{name}_pointwise", **ends))
    return chain, {**constants, **own}


def _activation(operator: onnx.NodeProto, seen: Look) -> onnx.NodeProto | None:
    """Return the activation that follows an operator, behind its normalisation."""
    readers = seen.readers.get(operator.output[0], ())
    while len(readers) == 1 and readers[0].op_type == "BatchNormalization":
        readers = seen.readers.get(readers[0].output[0], ())
    plain = len(readers) == 1 and readers[0].op_type in ACTIVATIONS and len(seen.computed(readers[0])) == 1
    return readers[0] if plain else None


def _copied(activation: onnx.NodeProto, value: str, out: str) -> onnx.NodeProto:
    import onnx

    copy = onnx.NodeProto()
    copy.CopyFrom(activation)
    copy.name, copy.input[0], copy.output[0] = out, value, out
    return copy
