"""Pools become strides: a convolution whose result is pooled computes only so many of its places as are left.

Decides: which pools: windows that do not overlap, behind a convolution with nothing but operators for each number in
between, whose kernel is as long as its new stride. Source: Springenberg et al., *Striving for Simplicity: The All
Convolutional Net*, ICLR 2015 workshop.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.compress.students.early.legal import fewer_places, spatial
from controller.compress.students.graph import Look, changed, look, without
from controller.compress.weights.operators import attributes
from controller.errors import UnusableModel

if TYPE_CHECKING:
    import onnx

POOLS = frozenset({"MaxPool", "AveragePool"})
BETWEEN = frozenset(
    {"Relu", "LeakyRelu", "Clip", "HardSwish", "Elu", "Selu", "Celu", "Gelu", "Mish", "Tanh", "BatchNormalization"}
)
"""What may stand between a convolution and its pool."""


def pools_to_strides(model: onnx.ModelProto) -> tuple[onnx.ModelProto, str]:
    """Return the model with strides in place of pools, and what was done.

    Args:
        model: As `prepared` returns it.
    Raises:
        UnusableModel: No pool can go, or the graph needs the places that it left.
    """
    seen = look(model)
    pools = [each for each in model.graph.node if each.op_type in POOLS]
    pairs = [(each, before) for each in pools if (before := _convolution(each, seen)) is not None]
    if not pairs:
        raise UnusableModel(
            f"pools: none of {len(pools)} pools has windows that do not overlap, and stands behind a convolution of a "
            f"kernel as long"
        )
    replaced = {before.output[0]: [_striding(before, _strides(pool))] for pool, before in pairs}
    made = changed(model, replaced, reads={pool.output[0]: pool.input[0] for pool, _ in pairs})
    if (said := fewer_places(model, made)) is not None:
        raise UnusableModel(f"pools: the graph needs the places that its pools leave: {said}")
    return made, f"pools: {len(pairs)} of {len(pools)} became strides of the convolutions before them"


def _convolution(pool: onnx.NodeProto, seen: Look) -> onnx.NodeProto | None:
    """Return the convolution that can take a pool's strides, or None."""
    strides = _strides(pool)
    if len(pool.output) > 1 or attributes(pool)["kernel_shape"] != strides or any(attributes(pool).get("pads", [])):
        return None
    before = pool
    while True:
        value = before.input[0]
        if value not in seen.makers or len(seen.readers[value]) > 1 or value in seen.outputs:
            return None
        before = seen.makers[value]
        if before.op_type not in BETWEEN:
            break
    if before.op_type != "Conv" or before.input[1] not in seen.constants:
        return None
    kernel = seen.constants[before.input[1]].dims[2:]
    longer = attributes(_striding(before, strides))["strides"]
    return before if all(reach >= step for reach, step in zip(kernel, longer, strict=True)) else None


def _striding(convolution: onnx.NodeProto, strides: list[int]) -> onnx.NodeProto:
    from onnx import helper

    old = spatial(convolution, "strides", len(strides), 1)
    given = {**without(convolution, "strides"), "strides": [one * more for one, more in zip(old, strides, strict=True)]}
    return helper.make_node("Conv", convolution.input, convolution.output, name=convolution.name, **given)


def _strides(pool: onnx.NodeProto) -> list[int]:
    """Return a pool's strides; where none are given, windows lie at every place."""
    given = attributes(pool)
    return list(given.get("strides", [1] * len(given["kernel_shape"])))
