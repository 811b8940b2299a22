"""Down-sampling where blocks change their width: networks that keep all places to the end compute most of them twice.

Decides: where: at values that only convolutions of single steps read, two or more of them, and not the input: a
block's first one and the one of its shortcut. Leaves out: whether the shapes fit afterwards (`legal.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.compress.students.early.legal import fewer_places, spatial
from controller.compress.students.early.refit import refit
from controller.compress.students.graph import changed, look, without
from controller.errors import UnusableModel
from controller.models.graph import infer_shapes

if TYPE_CHECKING:
    import onnx

STEP = 2


def stride_stages(model: onnx.ModelProto, seed: int) -> tuple[onnx.ModelProto, str]:
    """Return the model with half of the places along each axis behind each such value, and what was done.

    Args:
        model: As `prepared` returns it.
        seed: Of the weights of products that read all places in a row, and now fewer.
    Raises:
        UnusableModel: There is no such block, or the graph needs its places.
    """
    from onnx import helper

    found, shapes = _entries(model), infer_shapes(model)
    if not found:
        raise UnusableModel("stages: no block behind the stem keeps its places and has a convolution as its shortcut")
    replaced = {}
    for each in (one for readers in found for one in readers):
        steps = [STEP if size > 1 else 1 for size in shapes[each.input[0]][2:]]
        given = {**without(each, "strides"), "strides": steps}
        replaced[each.output[0]] = [helper.make_node("Conv", each.input, each.output, name=each.name, **given)]
    made, new = refit(changed(model, replaced), seed)
    if (said := fewer_places(model, made)) is not None:
        raise UnusableModel(f"stages: the graph needs its places: {said}")
    row = f"; fewer places in a row, so that weights are new: {', '.join(new)}" if new else ""
    return made, f"stages: strides of {STEP} in {len(found)} blocks whose shortcut is a convolution{row}"


def _entries(model: onnx.ModelProto) -> list[list[onnx.NodeProto]]:
    """Return the convolutions that begin each block, all that read one value together."""
    seen, shapes = look(model), infer_shapes(model)
    entries = []
    for value, readers in seen.readers.items():
        inner = value in seen.makers and value in shapes and value not in seen.outputs
        if inner and len(readers) > 1 and all(_keeps_places(each, len(shapes[value]) - 2) for each in readers):
            entries.append(list(readers))
    return entries


def _keeps_places(operator: onnx.NodeProto, axes: int) -> bool:
    return operator.op_type == "Conv" and set(spatial(operator, "strides", axes, 1)) <= {1}
