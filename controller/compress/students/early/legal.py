"""Whether the shapes of a changed graph fit each other. Pure.

Decides: what is asked of operators beyond what ONNX's own inference asks: a kernel within its input, a product as long
as what it reads, a shape with as many numbers as it is given. Leaves out: changing anything.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from controller.compress.students.graph import look
from controller.compress.weights.operators import attributes
from controller.models.graph import infer_shapes

if TYPE_CHECKING:
    import onnx

Shapes = Mapping[str, tuple[int, ...]]


def fewer_places(before: onnx.ModelProto, after: onnx.ModelProto) -> str | None:
    """Return what does not fit in a model that has fewer places than before, its outputs included, or None."""
    if (said := misfit(after)) is not None:
        return said
    old, new = infer_shapes(before), infer_shapes(after)
    other = [each.name for each in before.graph.output if old.get(each.name) != new.get(each.name)]
    return f"output {other[0]} would have shape {new.get(other[0])}, not {old.get(other[0])}" if other else None


def misfit(model: onnx.ModelProto) -> str | None:
    """Return what does not fit, in words, or None. Unknown sizes are taken to fit."""
    import onnx

    try:
        onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    except onnx.shape_inference.InferenceError as exc:
        last = str(exc).strip().splitlines()[-1]
        return last.replace("[ShapeInferenceError] ", "").replace("Inference error(s): ", "")[:200]
    shapes, constants = infer_shapes(model), look(model).constants
    for operator in model.graph.node:
        check = _CHECKS.get(operator.op_type)
        data = shapes.get(operator.input[0]) if check and operator.input else None
        if check is not None and data is not None and (said := check(operator, data, shapes)):
            return f"{operator.op_type} {operator.name or operator.output[0]}: {said}"
    return _empty(shapes, frozenset(constants))


def spatial(operator: onnx.NodeProto, name: str, axes: int, default: int) -> list[int]:
    """Return an attribute that has a number for each spatial axis."""
    return list(attributes(operator).get(name, [default] * axes))


def _empty(shapes: Shapes, constants: frozenset[str]) -> str | None:
    gone = next((name for name, shape in shapes.items() if name not in constants and any(a < 1 for a in shape)), None)
    return None if gone is None else f"nothing is left of {gone}, of shape {shapes[gone]}"


def _windowed(operator: onnx.NodeProto, data: tuple[int, ...], shapes: Shapes) -> str | None:
    given, axes = attributes(operator), len(data) - 2
    kernel = given.get("kernel_shape") or list(shapes[operator.input[1]][2:])
    if bytes(given.get("auto_pad", b"NOTSET")) not in (b"NOTSET", b"VALID"):
        return None
    pads, dilations = spatial(operator, "pads", 2 * axes, 0), spatial(operator, "dilations", axes, 1)
    for axis, size in enumerate(data[2:]):
        reach = dilations[axis] * (kernel[axis] - 1) + 1
        if size + pads[axis] + pads[axis + axes] < reach:
            return f"its kernel reaches over {reach} places, of {size} there are"
    return None


def _product(operator: onnx.NodeProto, data: tuple[int, ...], shapes: Shapes) -> str | None:
    given, weight = attributes(operator), shapes.get(operator.input[1])
    if weight is None or (operator.op_type == "MatMul" and len(weight) != 2):
        return None
    read = data[0] if given.get("transA") else data[-1]
    reads = weight[1] if given.get("transB") else weight[0]
    return None if read == reads else f"it reads {reads} numbers, {read} are there"


def _reshaped(operator: onnx.NodeProto, data: tuple[int, ...], shapes: Shapes) -> str | None:
    made = shapes.get(operator.output[0])
    if made is None or math.prod(made) == math.prod(data):
        return None
    return f"{math.prod(data)} numbers of a query do not become the shape {made}"


_CHECKS: dict[str, Callable[[onnx.NodeProto, tuple[int, ...], Shapes], str | None]] = {
    **dict.fromkeys(("Conv", "MaxPool", "AveragePool", "LpPool"), _windowed),
    **dict.fromkeys(("Gemm", "MatMul"), _product),
    "Reshape": _reshaped,
}
