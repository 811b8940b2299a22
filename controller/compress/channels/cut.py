"""Take channels out of a model: every weight that goes with them shrinks, and whatever states their number.

smaller = cut(model, traced, select(traced, scores, 0.5))
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from controller.compress.channels.atoms import Count, Numbers
from controller.compress.channels.trace import Traced

if TYPE_CHECKING:
    import onnx


def cut(model: onnx.ModelProto, traced: Traced, gone: Numbers) -> onnx.ModelProto:
    """Return the model without some channels. What it computes is what it computed with nothing reading them.

    Args:
        model: As it was traced, constants among the initialisers; not changed.
        traced: What `trace` returned for it.
        gone: Free atoms, as `select` returns them.
    """
    import onnx

    smaller = onnx.ModelProto()
    smaller.CopyFrom(model)
    stays = np.ones(len(traced.atoms), dtype=bool)
    stays[gone] = False
    _shrink_weights(smaller, traced, stays)
    for count in traced.counts:
        _restate(smaller, count, int(stays[traced.atoms.roots(count.atoms)].sum()))
    del smaller.graph.value_info[:]
    return onnx.shape_inference.infer_shapes(smaller, strict_mode=True, data_prop=True)


def _shrink_weights(model: onnx.ModelProto, traced: Traced, stays: NDArray[np.bool_]) -> None:
    from onnx import numpy_helper

    weights = {each.name: each for each in model.graph.initializer}
    axes: dict[tuple[str, int], NDArray[np.bool_]] = {}
    for piece in traced.pieces:  # an axis that several operators use is one axis: their atoms were joined
        axes[piece.tensor, piece.axis] = stays[traced.atoms.roots(piece.atoms)]
    shrunk: dict[str, NDArray[Any]] = {}
    for (name, axis), mask in axes.items():
        values = shrunk.get(name, numpy_helper.to_array(weights[name]))
        shrunk[name] = np.compress(mask, values, axis=axis)
    for name, values in shrunk.items():
        weights[name].CopyFrom(numpy_helper.from_array(np.ascontiguousarray(values), name))


def _restate(model: onnx.ModelProto, count: Count, number: int) -> None:
    from onnx import helper, numpy_helper

    if isinstance(count.place, int):
        operator = model.graph.node[count.place]
        others = [each for each in operator.attribute if each.name != "group"]
        del operator.attribute[:]
        operator.attribute.extend([*others, helper.make_attribute("group", number)])
        return
    tensor = next(each for each in model.graph.initializer if each.name == count.place)
    shape = numpy_helper.to_array(tensor).copy()
    shape[count.entry] = number
    tensor.CopyFrom(numpy_helper.from_array(shape, count.place))
