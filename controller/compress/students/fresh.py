"""Weights to begin training with: drawn anew, by a seed and the weight's name, so that each is the same in any graph.

Decides: how each kind begins: weights of convolutions and products He-normal, their biases 0, normalisations as they
pass on what is normal already. What else is learned keeps its values, and is named. Source: He et al., *Delving Deep
into Rectifiers*, ICCV 2015.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from controller.compress.students.graph import WEIGHTED, Look, look
from controller.compress.weights.operators import replace_values, values_of, weighted

if TYPE_CHECKING:
    import onnx

BEGINS = {
    "BatchNormalization": (1.0, 0.0, 0.0, 1.0),
    **dict.fromkeys(("InstanceNormalization", "LayerNormalization", "GroupNormalization"), (1.0, 0.0)),
    "PRelu": (0.25,),
}
"""Values of an operator's constants, from its second input on."""


def he_normal(seed: int, name: str, shape: Sequence[int], reads: int) -> NDArray[np.float32]:
    """Return values of a normal distribution of variance 2 / `reads`.

    Args:
        seed: Of the pass.
        name: Of the weight: others draw other numbers.
        shape: Of the weight.
        reads: How many numbers each output adds up.
    """
    random = np.random.default_rng([seed, zlib.crc32(name.encode())])
    return (random.standard_normal(shape) * math.sqrt(2 / reads)).astype(np.float32)


def refresh(model: onnx.ModelProto, seed: int) -> tuple[onnx.ModelProto, str]:
    """Return the model with weights drawn anew, and what kept its values.

    Args:
        model: As `prepared` returns it.
        seed: Of the weights.
    """
    import onnx

    fresh = onnx.ModelProto()
    fresh.CopyFrom(model)
    seen = look(fresh)
    done = _weights(fresh, seed) | _beginnings(fresh, seen)
    kept = [name for name in _learned(fresh, seen) if name not in done]
    said = f"; {len(kept)} constants keep their values: {', '.join(kept[:5])}" if kept else ""
    return fresh, f"weights: fresh, He-normal, seed {seed}{said}"


def _weights(model: onnx.ModelProto, seed: int) -> set[str]:
    done = set()
    for each in weighted(model):
        values, operator = values_of(model, each.weight), model.graph.node[each.index]
        reads = each.matrix(values).shape[1] // (each.groups if each.kind == "ConvTranspose" else 1)
        replace_values(model, each.weight, he_normal(seed, each.weight, values.shape, reads))
        done |= {each.weight, *_zeroed(model, operator.input[2:])}
    return done


def _beginnings(model: onnx.ModelProto, seen: Look) -> set[str]:
    done = set()
    for operator in model.graph.node:
        for name, number in zip(operator.input[1:], BEGINS.get(operator.op_type, ()), strict=False):
            if name in seen.constants:
                replace_values(model, name, np.full(values_of(model, name).shape, number))
                done.add(name)
        if operator.op_type == "Add" and any(_is_product(name, seen) for name in operator.input):
            done |= set(_zeroed(model, [name for name in operator.input if name in seen.constants]))
    return done


def _is_product(value: str, seen: Look) -> bool:
    return value in seen.makers and seen.makers[value].op_type == "MatMul"


def _zeroed(model: onnx.ModelProto, names: Sequence[str]) -> list[str]:
    """Set the constants among these to 0; return them."""
    constants = {each.name for each in model.graph.initializer}
    found = [name for name in names if name in constants]
    for name in found:
        replace_values(model, name, np.zeros_like(values_of(model, name)))
    return found


def _learned(model: onnx.ModelProto, seen: Look) -> list[str]:
    """Return the constants that are learned as far as can be told: of operators with weights, or tables of numbers."""
    from onnx import TensorProto

    read = {name for each in model.graph.node if each.op_type in WEIGHTED | BEGINS.keys() for name in each.input}
    return [
        name
        for name, each in seen.constants.items()
        if each.data_type == TensorProto.FLOAT and (name in read or len(each.dims) > 1)
    ]
