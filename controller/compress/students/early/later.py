"""Later down-sampling taken back: strides and pools behind the stem halve, as often as the stem's doubled.

Decides: which: those that stand at the same depth of down-sampling, the earliest first, so that branches that meet
again stay alike. A pool of windows that do not overlap goes when its window is down to one place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.compress.students.graph import Look, changed, look, without
from controller.compress.students.stems import stem
from controller.compress.weights.operators import attributes
from controller.errors import UnusableModel

if TYPE_CHECKING:
    import onnx

STRIDED = frozenset({"Conv", "MaxPool", "AveragePool", "LpPool"})


def less_later(model: onnx.ModelProto, factor: int) -> onnx.ModelProto:
    """Return the model with its later strides divided by `factor`, a power of two, in all.

    Raises:
        UnusableModel: Too few strides come later.
    """
    left = factor
    while left > 1:
        found = _earliest(model)
        if not found:
            raise UnusableModel(
                f"early_stride {factor}: later strides cannot be reduced by {factor}, only by {factor // left}; take "
                f"later_strides: kept"
            )
        model, left = _halved(model, found), left // 2
    return model


def _earliest(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """Return the operators with even strides behind the stem that come first, counted in down-sampling."""
    seen, first = look(model), {each.output[0] for each in stem(model)}
    depths = _depths(model, seen)
    even = [
        (depths[each.input[0]], each)
        for each in model.graph.node
        if each.op_type in STRIDED and each.output[0] not in first and first & _behind(each, seen) and _halves(each)
    ]
    least = min((depth for depth, _ in even), default=0)
    return [each for depth, each in even if depth == least]


def _behind(operator: onnx.NodeProto, seen: Look) -> set[str]:
    """Return the values that an operator depends on."""
    found, wanted = set[str](), list(operator.input)
    while wanted:
        name = wanted.pop()
        if name not in found:
            found.add(name)
            wanted += seen.makers[name].input if name in seen.makers else ()
    return found


def _depths(model: onnx.ModelProto, seen: Look) -> dict[str, int]:
    """Return for each value how far it is down-sampled, as a product of strides along the first spatial axis."""
    depths = dict.fromkeys(seen.inputs, 1)
    for operator in model.graph.node:
        depth = max((depths[name] for name in operator.input if name in depths), default=1)
        steps = _strides(operator) if operator.op_type in STRIDED else []
        depths.update(dict.fromkeys(operator.output, depth * max(steps, default=1)))
    return depths


def _strides(operator: onnx.NodeProto) -> list[int]:
    return list(attributes(operator).get("strides", [1]))


def _halves(operator: onnx.NodeProto) -> bool:
    steps = [step for step in _strides(operator) if step > 1]
    return bool(steps) and all(step % 2 == 0 for step in steps)


def _halved(model: onnx.ModelProto, found: list[onnx.NodeProto]) -> onnx.ModelProto:
    from onnx import helper

    replaced, reads = {}, {}
    for each in found:
        given, steps = without(each, "strides"), [max(1, step // 2) for step in _strides(each)]
        if each.op_type != "Conv" and given["kernel_shape"] == _strides(each) and not any(given.get("pads", [])):
            given["kernel_shape"] = steps  # windows that do not overlap
            if max(steps) == 1:
                reads[each.output[0]] = each.input[0]
                continue
        made = helper.make_node(each.op_type, each.input, each.output, name=each.name, strides=steps, **given)
        replaced[each.output[0]] = [made]
    return changed(model, replaced, reads=reads)
