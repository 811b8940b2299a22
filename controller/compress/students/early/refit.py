"""Products that read every place in a row, made to read fewer.

Decides: which: products with a constant weight of their own whose rows are longer than what they are given now, and
reshapes that state the old length. Their weights are new: which place a row stood for is lost.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from controller.compress.students.fresh import he_normal
from controller.compress.students.graph import look
from controller.compress.weights.operators import Weighted, replace_values, values_of, weighted
from controller.models.graph import infer_shapes

if TYPE_CHECKING:
    import onnx


def refit(model: onnx.ModelProto, seed: int) -> tuple[onnx.ModelProto, list[str]]:
    """Return the model with products as long as what they read, and the names of the weights that are new.

    Args:
        model: Whose places became fewer; not changed.
        seed: Of the new weights.
    """
    import onnx

    fitting = onnx.ModelProto()
    fitting.CopyFrom(model)
    _restate(fitting)
    return fitting, [each.weight for each in weighted(fitting) if _shortened(fitting, each, seed)]


def _restate(model: onnx.ModelProto) -> None:
    """Let reshapes into a row of so many numbers for each query say how many there are now."""
    seen, shapes = look(model), infer_shapes(model)
    for operator in model.graph.node:
        shape = operator.input[1] if operator.op_type == "Reshape" else ""
        data = shapes.get(operator.input[0]) if shape in seen.constants else None
        if data is None or len(seen.readers[shape]) > 1:
            continue
        stated, row = values_of(model, shape).copy(), math.prod(data[1:])
        if len(data) > 2 and len(stated) == 2 and stated[1] > row:
            stated[1] = row
            replace_values(model, shape, stated)


def _shortened(model: onnx.ModelProto, each: Weighted, seed: int) -> bool:
    """Give a product that reads more than there is a new weight; whether it did."""
    operator = model.graph.node[each.index]
    data = infer_shapes(model).get(operator.input[0]) if each.kind in ("Gemm", "MatMul") and not each.shared else None
    weight = values_of(model, each.weight)
    if data is None or data[-1] >= weight.shape[1 - each.made]:
        return False
    shape = (weight.shape[0], data[-1]) if each.made == 0 else (data[-1], weight.shape[1])
    replace_values(model, each.weight, he_normal(seed, each.weight, shape, data[-1]))
    return True
