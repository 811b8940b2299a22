"""What each operator does to channels. An operator that is not here, or in a form that is not here, keeps them all.

Decides: when a rule holds. Each takes the trace, the operator and its index, and returns whether it could follow; where
it could not, `follow` pins the inputs. Leaves out: operators with subgraphs, and those that mix channels by position.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from controller.compress.channels.atoms import Channels, Count, Numbers
from controller.compress.channels.trace import Trace
from controller.compress.weights.operators import attributes

if TYPE_CHECKING:
    import onnx

Rule = Callable[[Trace, int, "onnx.NodeProto"], bool]


def follow(trace: Trace, index: int, operator: onnx.NodeProto) -> None:
    """Follow the channels through one operator, or keep all that go into it."""
    rule = RULES.get(operator.op_type) if operator.domain in ("", "ai.onnx") else None
    known = all(name in trace.shapes for name in (*filter(None, operator.input), *operator.output[:1]))
    if rule is None or not known or not rule(trace, index, operator):
        trace.pin(*operator.input)


def attribute(operator: onnx.NodeProto, name: str, default: Any) -> Any:
    """Return an operator's attribute as a plain value."""
    return attributes(operator).get(name, default)


def constant(trace: Trace, name: str) -> np.ndarray[Any, Any] | None:
    """Return the value of a constant; None where it is computed."""
    from onnx import numpy_helper

    return numpy_helper.to_array(trace.constants[name]) if name in trace.constants else None


def _convolution(trace: Trace, index: int, operator: onnx.NodeProto) -> bool:
    x, weight, *bias = operator.input
    found, groups = trace.channels(x), attribute(operator, "group", 1)
    if weight not in trace.constants or (found is not None and found.axis != 1):
        return False
    made, read = (1, 0) if operator.op_type == "ConvTranspose" else (0, 1)
    if groups == 1:
        out = trace.atoms.new(trace.shapes[weight][made])
        trace.piece(weight, made, out, "out")
        if found is not None:
            trace.piece(weight, read, found.atoms, "in")
    elif found is not None and groups == len(found.atoms) and operator.op_type == "Conv":
        # Each channel on its own: what comes out goes with what went in.
        out = np.repeat(found.atoms, trace.shapes[weight][0] // groups)
        trace.piece(weight, 0, out, "along")
        trace.counts.append(Count(index, found.atoms))
    else:
        return False
    return _made_by_weights(trace, operator, (weight, bias[:1]), Channels(1, out))


def _made_by_weights(trace: Trace, operator: onnx.NodeProto, weights: tuple[str, list[str]], made: Channels) -> bool:
    weight, bias = weights
    trace.uses[weight] += 1
    if any(bias):
        if bias[0] not in trace.constants:
            trace.atoms.pin(made.atoms)
        elif trace.shapes[bias[0]][-1:] == (len(made.atoms),):
            trace.piece(bias[0], trace.rank(bias[0]) - 1, made.atoms, "along")
        trace.uses[bias[0]] += 1
    trace.values[operator.output[0]] = made
    return True


def _gemm(trace: Trace, _index: int, operator: onnx.NodeProto) -> bool:
    x, weight, *bias = operator.input
    found = trace.channels(x)
    if weight not in trace.constants or attribute(operator, "transA", 0) or (found and found.axis != 1):
        return False
    made = 0 if attribute(operator, "transB", 0) else 1
    out = trace.atoms.new(trace.shapes[weight][made])
    trace.piece(weight, made, out, "out")
    if found is not None:
        trace.piece(weight, 1 - made, found.atoms, "in")
    return _made_by_weights(trace, operator, (weight, bias[:1]), Channels(1, out))


def _product(trace: Trace, _index: int, operator: onnx.NodeProto) -> bool:
    x, weight = operator.input
    found, last = trace.channels(x), trace.rank(x) - 1
    if weight not in trace.constants or trace.rank(weight) != 2 or (found and found.axis != last):
        return False
    out = trace.atoms.new(trace.shapes[weight][1])
    trace.piece(weight, 1, out, "out")
    if found is not None:
        trace.piece(weight, 0, found.atoms, "in")
    return _made_by_weights(trace, operator, (weight, []), Channels(last, out))


def _pointwise(trace: Trace, _index: int, operator: onnx.NodeProto) -> bool:
    """Operators of several inputs that are broadcast: their channels are joined one by one."""
    rank = trace.rank(operator.output[0])
    moved = {
        name: Channels(found.axis + rank - trace.rank(name), found.atoms)
        for name in operator.input
        if (found := trace.channels(name)) is not None
    }
    widest = max(moved.values(), key=lambda each: len(each.atoms), default=None)
    if widest is None or len({each.axis for each in moved.values()}) > 1:
        return False
    for name in operator.input:
        _join_pointwise(trace, name, (rank, widest), moved.get(name))
    trace.values[operator.output[0]] = widest
    return True


def _join_pointwise(trace: Trace, name: str, into: tuple[int, Channels], own: Channels | None) -> None:
    rank, widest = into
    axis = widest.axis - (rank - trace.rank(name))
    size = trace.shapes[name][axis] if axis >= 0 else 1
    if own is not None and len(own.atoms) == len(widest.atoms):
        trace.atoms.join(widest.atoms, own.atoms)
    elif own is not None:
        trace.atoms.pin(own.atoms)  # one channel for all
    elif name in trace.constants:
        if size == len(widest.atoms) and size > 1:
            trace.piece(name, axis, widest.atoms, "along")
        trace.uses[name] += 1
    elif size != 1:
        trace.atoms.pin(widest.atoms)  # channels of a value that is not followed


def _normalisation(trace: Trace, _index: int, operator: onnx.NodeProto) -> bool:
    found = trace.channels(operator.input[0])
    if found is None or found.axis != 1 or any(name not in trace.constants for name in operator.input[1:]):
        return False
    for name in operator.input[1:]:
        trace.piece(name, 0, found.atoms, "along")
        trace.uses[name] += 1
    trace.values[operator.output[0]] = found
    return True


def _passed_on(trace: Trace, _index: int, operator: onnx.NodeProto) -> bool:
    found = trace.channels(operator.input[0])
    if found is not None:
        trace.values[operator.output[0]] = found
    return found is not None


def _pooled(trace: Trace, index: int, operator: onnx.NodeProto) -> bool:
    found = trace.channels(operator.input[0])
    return found is not None and found.axis == 1 and len(operator.output) == 1 and _passed_on(trace, index, operator)


def _same_width(trace: Trace, index: int, operator: onnx.NodeProto) -> bool:
    """Operators that may change the channel axis: followed where its length stays, and nothing states it."""
    found = trace.channels(operator.input[0])
    if found is None or (operator.op_type == "Resize" and len(operator.input) > 3):
        return False
    shape = trace.shapes[operator.output[0]]
    return shape[found.axis] == len(found.atoms) and _passed_on(trace, index, operator)


def _axes(trace: Trace, operator: onnx.NodeProto) -> list[int] | None:
    """Return the axes that an operator names, as an attribute or as its second input; None: computed."""
    given = attribute(operator, "axes", None)
    if given is None and len(operator.input) > 1 and operator.input[1]:
        value = constant(trace, operator.input[1])
        given = None if value is None else value.tolist()
    rank = max(trace.rank(operator.input[0]), trace.rank(operator.output[0]))
    return None if given is None else sorted(int(axis) % rank for axis in np.atleast_1d(given))


def _reduced(trace: Trace, _index: int, operator: onnx.NodeProto) -> bool:
    found, axes = trace.channels(operator.input[0]), _axes(trace, operator)
    if found is None or axes is None or found.axis in axes:
        return False
    lost = 0 if attribute(operator, "keepdims", 1) else sum(axis < found.axis for axis in axes)
    trace.made(operator.output[0], found.axis - lost, found.atoms)
    return True


def _squeezed(trace: Trace, _index: int, operator: onnx.NodeProto) -> bool:
    found, axes = trace.channels(operator.input[0]), _axes(trace, operator)
    if found is None or axes is None or found.axis in axes:
        return False
    trace.made(operator.output[0], found.axis - sum(axis < found.axis for axis in axes), found.atoms)
    return True


def _unsqueezed(trace: Trace, _index: int, operator: onnx.NodeProto) -> bool:
    found, axes = trace.channels(operator.input[0]), _axes(trace, operator)
    if found is None or axes is None:
        return False
    old = [axis for axis in range(trace.rank(operator.output[0])) if axis not in axes]
    trace.made(operator.output[0], old[found.axis], found.atoms)
    return True


def _transposed(trace: Trace, _index: int, operator: onnx.NodeProto) -> bool:
    found = trace.channels(operator.input[0])
    if found is None:
        return False
    order = attribute(operator, "perm", list(reversed(range(trace.rank(operator.input[0])))))
    trace.made(operator.output[0], list(order).index(found.axis), found.atoms)
    return True


def _flattened(trace: Trace, _index: int, operator: onnx.NodeProto) -> bool:
    found = trace.channels(operator.input[0])
    if found is None or found.axis != 1 or attribute(operator, "axis", 1) != 1:
        return False
    return _in_a_row(trace, operator, found)


def _in_a_row(trace: Trace, operator: onnx.NodeProto, found: Channels) -> bool:
    """Follow channels whose places are laid out behind each: a row holds all of the first channel first."""
    places = trace.shapes[operator.input[0]][2:]
    if any(axis < 1 for axis in places):
        return False
    trace.made(operator.output[0], 1, np.repeat(found.atoms, math.prod(places)))
    return True


def _reshaped(trace: Trace, _index: int, operator: onnx.NodeProto) -> bool:
    found, shape = trace.channels(operator.input[0]), constant(trace, operator.input[1])
    if found is None or found.axis != 1 or shape is None or len(shape) < 2:
        return False
    before, after = trace.shapes[operator.input[0]], trace.shapes[operator.output[0]]
    if len(after) == 2 and after[0] == before[0]:
        followed = _in_a_row(trace, operator, found)
    elif after[:2] == before[:2] and len(found.atoms) == after[1]:
        trace.made(operator.output[0], 1, found.atoms)
        followed = True
    else:
        followed = False
    if followed and shape[1] > 0:
        trace.counts.append(Count(operator.input[1], trace.values[operator.output[0]].atoms, 1))
    return followed


def _joined_along(trace: Trace, _index: int, operator: onnx.NodeProto) -> bool:
    found = {name: trace.channels(name) for name in operator.input}
    axes = {each.axis for each in found.values() if each is not None}
    along = attribute(operator, "axis", 0) % trace.rank(operator.output[0])
    if len(axes) != 1 or not (along in axes or all(found.values())):
        return False
    if along not in axes:
        first, *rest = (each for each in found.values() if each is not None)
        for each in rest:
            trace.atoms.join(first.atoms, each.atoms)
        trace.values[operator.output[0]] = first
        return True
    parts = [_or_pinned(trace, name, along) for name in operator.input]
    if any(len(part) == 0 for part in parts):
        return False
    trace.made(operator.output[0], along, np.concatenate(parts))
    return True


def _or_pinned(trace: Trace, name: str, axis: int) -> Numbers:
    """Return a value's atoms; those of a value that is not followed stay. None where their number is not known."""
    if (found := trace.channels(name)) is not None:
        return found.atoms
    atoms = trace.atoms.new(max(0, trace.shapes[name][axis]))
    trace.atoms.pin(atoms)
    return atoms


def _looked_at(_trace: Trace, _index: int, _operator: onnx.NodeProto) -> bool:
    """Operators that ask how large a value is: they will find it smaller."""
    return True


RULES: dict[str, Rule] = {
    **dict.fromkeys(("Conv", "ConvTranspose"), _convolution),
    "Gemm": _gemm,
    "MatMul": _product,
    **dict.fromkeys(("Add", "Sub", "Mul", "Div", "Max", "Min", "PRelu"), _pointwise),
    **dict.fromkeys(("BatchNormalization", "InstanceNormalization"), _normalisation),
    **dict.fromkeys(
        ("Relu", "LeakyRelu", "Elu", "Selu", "Celu", "Sigmoid", "HardSigmoid", "HardSwish", "Tanh", "Clip", "Erf"),
        _passed_on,
    ),
    **dict.fromkeys(
        ("Gelu", "Mish", "Softplus", "Softsign", "Abs", "Neg", "Exp", "Sqrt", "Identity", "Cast", "Dropout"),
        _passed_on,
    ),
    **dict.fromkeys(("MaxPool", "AveragePool", "LpPool", "GlobalAveragePool", "GlobalMaxPool"), _pooled),
    **dict.fromkeys(("Pad", "Resize", "Slice"), _same_width),
    **dict.fromkeys(("ReduceMean", "ReduceMax", "ReduceMin", "ReduceSum", "ReduceL2"), _reduced),
    "Squeeze": _squeezed,
    "Unsqueeze": _unsqueezed,
    "Transpose": _transposed,
    "Flatten": _flattened,
    "Reshape": _reshaped,
    "Concat": _joined_along,
    "Shape": _looked_at,
}
