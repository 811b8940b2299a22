"""Earlier down-sampling: everything behind the stem sees fewer places, so that all of it computes less.

Decides: where the places go (longer strides of the stem, or an average in front of it) and whether what comes later
takes them back. Leaves out: whether the shapes fit (`legal.py`): where they do not, the change is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from controller.compress.students.early.later import less_later
from controller.compress.students.early.legal import fewer_places, spatial
from controller.compress.students.early.refit import refit
from controller.compress.students.graph import changed, look, without
from controller.compress.students.stems import first_weighted
from controller.errors import UnusableModel
from controller.models.graph import infer_shapes

if TYPE_CHECKING:
    import onnx

At = Literal["stem", "input"]
Later = Literal["kept", "reduced"]
Shapes = Mapping[str, tuple[int, ...]]


def stride_early(
    model: onnx.ModelProto, factor: int, *, at: At = "stem", later: Later = "kept", seed: int = 0
) -> tuple[onnx.ModelProto, str]:
    """Return the model with fewer places from the stem on, and what was done.

    Args:
        model: As `prepared` returns it.
        factor: So many times fewer along each spatial axis of more than one place: a power of two.
        at: `stem`: the first convolutions take longer steps. `input`: averages of so many places go into them; what is
            left over at the end of an axis is not read.
        later: `reduced`: later strides and pools shrink by the same factor together, so that the end sees as many
            places as before.
        seed: Of the weights of products that read all places in a row, and now fewer.
    Raises:
        UnusableModel: The graph does not allow it; the text says where.
    """
    stem, shapes = _stem_of(model), infer_shapes(model)
    unknown = [each.input[0] for each in stem if each.input[0] not in shapes]
    if unknown:
        raise UnusableModel(f"early_stride: the size of {unknown[0]}, which a stem convolution reads, is free")
    fewer = (_longer_steps if at == "stem" else _averaged)(model, stem, shapes, factor)
    if later == "reduced":
        fewer = less_later(fewer, factor)
    fewer, new = refit(fewer, seed)
    if (said := fewer_places(model, fewer)) is not None:
        hint = "" if later == "reduced" else "; with later_strides: reduced the end sees as many places as before"
        raise UnusableModel(f"early_stride {factor}: the graph needs its places: {said}{hint}")
    names = ", ".join(each.name or each.output[0] for each in stem)
    how = f"strides of the stem ({names}) times {factor}" if at == "stem" else f"the stem ({names}) reads averages"
    more = "; later strides reduced by as much" if later == "reduced" else ""
    row = f"; fewer places in a row, so that weights are new: {', '.join(new)}" if new else ""
    return fewer, f"early_stride: {factor} times fewer places along each axis, {how}{more}{row}"


def _stem_of(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    stem = first_weighted(model)
    others = [each for each in stem if each.op_type != "Conv"]
    if not stem or others:
        what = f"{others[0].op_type} {others[0].name or others[0].output[0]} does" if others else "nothing does"
        raise UnusableModel(f"early_stride needs convolutions that read the input first, and {what}")
    return stem


def _longer_steps(
    model: onnx.ModelProto, stem: Sequence[onnx.NodeProto], shapes: Shapes, factor: int
) -> onnx.ModelProto:
    from onnx import helper

    replaced, steps = {}, {}
    for each in stem:
        places = shapes[each.input[0]][2:]
        old = spatial(each, "strides", len(places), 1)
        steps[each.output[0]] = [step * (factor if size > 1 else 1) for step, size in zip(old, places, strict=True)]
        given = {**without(each, "strides"), "strides": steps[each.output[0]]}
        replaced[each.output[0]] = [helper.make_node("Conv", each.input, each.output, name=each.name, **given)]
    kernel = [max(sizes) for sizes in zip(*(shapes[each.input[1]][2:] for each in stem), strict=True)]
    longest = [max(sizes) for sizes in zip(*steps.values(), strict=True)]
    if any(step > reach for step, reach in zip(longest, kernel, strict=True)):
        raise UnusableModel(
            f"early_stride {factor}: strides of {longest} would leave values unread between kernels of {kernel}; take "
            f"stride_at: input"
        )
    return changed(model, replaced)


def _averaged(model: onnx.ModelProto, stem: Sequence[onnx.NodeProto], shapes: Shapes, factor: int) -> onnx.ModelProto:
    from onnx import helper

    reads, added = {}, []
    for value in dict.fromkeys(each.input[0] for each in stem):
        sizes = [factor if size > 1 else 1 for size in shapes[value][2:]]
        reads[value] = f"{value}_averaged"
        given: dict[str, Any] = {"kernel_shape": sizes, "strides": sizes}
        added.append(helper.make_node("AveragePool", [value], [reads[value]], name=f"{value}_average", **given))
    if outputs := look(model).outputs & reads.keys():
        raise UnusableModel(f"early_stride: {', '.join(sorted(outputs))}, which the stem reads, is an output")
    return changed(model, {}, added=added, reads=reads)
