"""Trained weights back into an ONNX graph, in the form that it keeps them in.

Decides: that the scale of a bias is the product of its input's and its weight's, as integer arithmetic needs it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper

from controller.compress.training.network.quantised import integers

if TYPE_CHECKING:
    from controller.compress.training.network.graph import Network

Array = NDArray[Any]


def real(values: Array, scale: Array, zero: Array | None, axis: int | None) -> NDArray[np.float32]:
    """Return stored whole numbers as the real numbers that they stand for."""
    shape = [1] * values.ndim
    if axis is not None:
        shape[axis] = -1
    step = scale.reshape(shape) if axis is not None else scale.reshape(())
    offset = 0 if zero is None else zero.reshape(shape if axis is not None and zero.size > 1 else ()).astype(np.int64)
    return np.asarray((values.astype(np.int64) - offset) * step, dtype=np.float32)


def written(network: Network) -> onnx.ModelProto:
    """Return a network's graph with its weights as they are now."""
    model = onnx.ModelProto()
    model.CopyFrom(network.model)
    changed = {name: _values(network, name) for name, place in network.places.items() if place in network.weights}
    changed |= {name: network.constant(name).detach().numpy() for name in network.running}
    changed |= _bias_scales(network, changed)
    for name, one in network.stored.items():
        changed[name] = _whole(network, name, changed[one.scale])
    for tensor in model.graph.initializer:
        if tensor.name in changed:
            before = numpy_helper.to_array(tensor)
            values = np.ascontiguousarray(changed[tensor.name].reshape(before.shape), dtype=before.dtype)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    return model


def _values(network: Network, name: str) -> Array:
    values: Array = network.constant(name).detach().numpy()
    return values


def _bias_scales(network: Network, changed: dict[str, Array]) -> dict[str, Array]:
    """Return the scales of the stored biases."""
    dequantised = {step.made[0]: step.given for step in network.steps if step.kind == "DequantizeLinear"}
    found = {}
    for step in network.steps:
        ends = [dequantised.get(name) for name in step.given[:3]]
        if len(ends) == 3 and None not in ends and ends[2][0] in network.stored:  # type: ignore[index]
            source, weight, bias = (each[1] for each in ends if each is not None)
            found[bias] = np.asarray(_known(network, changed, source) * _known(network, changed, weight), np.float32)
    return found


def _known(network: Network, changed: dict[str, Array], name: str) -> Array:
    return changed[name] if name in changed else network.constant(name).detach().numpy()


def _whole(network: Network, name: str, scale: Array) -> Array:
    one = network.stored[name]
    scales = torch.from_numpy(np.array(scale, dtype=np.float32))
    zero = network.constant(one.zero) if one.zero else torch.zeros(())
    levels: Array = integers(network.constant(name).detach().double(), scales.double(), zero, one.levels).numpy()
    return levels
