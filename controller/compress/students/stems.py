"""The stem of a network: the convolutions that read the input before anything learned has.

Decides: which those are. Leaves out: what is done with them: `early/stride.py` gives them longer strides,
`separable.py` leaves them whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.compress.students.graph import Look, look

if TYPE_CHECKING:
    import onnx


def first_weighted(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """Return the operators with weights that read a value that depends on the input and on no weight, in order."""
    seen = look(model)
    return [each for each in _reached(model, seen) if seen.holds_weight(each)]


def stem(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """Return the convolutions among `first_weighted`."""
    return [each for each in first_weighted(model) if each.op_type == "Conv"]


def _reached(model: onnx.ModelProto, seen: Look) -> list[onnx.NodeProto]:
    """Return the operators all of whose computed inputs come from the input without a weight on the way."""
    plain, reached = set(seen.inputs), []
    for operator in model.graph.node:
        computed = seen.computed(operator)
        if computed and plain.issuperset(computed):
            reached.append(operator)
            if not seen.holds_weight(operator):
                plain.update(operator.output)
    return reached
