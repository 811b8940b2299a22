"""Fewer repeated blocks: a residual block whose result has the shape of what goes in can be left out.

Decides: what a block is: everything between a value and the addition that all of its ways meet at again, when both have
the same shape, nothing else reads what is in between, and weights are in it, not only those of gates of whole channels;
of nested ones the inner. Those that stay are spread evenly, the first among them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING

from controller.compress.students.graph import Look, changed, look, sees_places
from controller.errors import UnusableModel
from controller.models.graph import infer_shapes

if TYPE_CHECKING:
    import onnx

ROOT = ""
"""Stands before all inputs, where ways from different inputs meet."""


@dataclass(frozen=True)
class Block:
    """A block that can be left out. entry, exit: values of one shape. inside: first outputs of its operators."""

    name: str
    entry: str
    exit: str
    inside: frozenset[str]


def shallower(model: onnx.ModelProto, share: float) -> tuple[onnx.ModelProto, str]:
    """Return the model with fewer blocks, and which went.

    Args:
        model: As `prepared` returns it.
        share: Of the blocks that stays, 0 to below 1; rounded down, so that one at least goes.
    Raises:
        UnusableModel: There is no such block.
    """
    found = blocks(model)
    if not found:
        raise UnusableModel("depth: no block repeats: none adds to what goes in and has its shape")
    count = math.floor(share * len(found) + 1e-9)
    kept = {place * len(found) // count for place in range(count)}
    gone = [each for place, each in enumerate(found) if place not in kept]
    reads = {each.exit: each.entry for each in gone}
    for name in reads:
        while reads[name] in reads:  # the block before goes too
            reads[name] = reads[reads[name]]
    names = ", ".join(each.name for each in gone)
    return changed(model, {}, reads=reads), f"depth {share}: {len(gone)} of {len(found)} blocks left out: {names}"


def blocks(model: onnx.ModelProto) -> list[Block]:
    """Return the blocks that can be left out, in the graph's order."""
    seen, shapes = look(model), infer_shapes(model)
    meets = _meeting(model, seen)
    found = []
    for operator in model.graph.node:
        end, start = operator.output[0], meets.get(operator.output[0], ROOT)
        if operator.op_type not in ("Add", "Sum") or len(seen.computed(operator)) < 2 or start == ROOT:
            continue
        if shapes.get(end) is not None and shapes.get(end) == shapes.get(start):
            inside = _inside(seen, start, operator)
            weighted = [seen.makers[name] for name in inside if seen.holds_weight(seen.makers[name])]
            if _closed(seen, inside, end) and any(sees_places(each, shapes) for each in weighted):
                found.append(Block(_name(seen, inside, end), start, end, frozenset(inside)))
    exits = {each.exit for each in found}
    return [each for each in found if not exits & (each.inside - {each.exit})]


def _meeting(model: onnx.ModelProto, seen: Look) -> dict[str, str]:
    """Return for each value the last value that all ways from the inputs to it go through (its immediate dominator)."""
    above: dict[str, str] = dict.fromkeys(seen.inputs, ROOT)
    height: dict[str, int] = {ROOT: 0, **dict.fromkeys(seen.inputs, 1)}
    for operator in model.graph.node:
        computed = [name for name in seen.computed(operator) if name in above]
        meet = computed[0] if computed else ROOT
        for other in computed[1:]:
            meet = _common(meet, other, above, height)
        for name in filter(None, operator.output):
            above[name], height[name] = meet, height[meet] + 1
    return above


def _common(one: str, other: str, above: Mapping[str, str], height: Mapping[str, int]) -> str:
    while one != other:
        if height[one] >= height[other]:
            one = above[one]
        else:
            other = above[other]
    return one


def _inside(seen: Look, start: str, end: onnx.NodeProto) -> set[str]:
    """Return the first outputs of all operators between a value and an operator, the operator's too."""
    found, wanted = {end.output[0]}, list(end.input)
    while wanted:
        name = wanted.pop()
        maker = seen.makers.get(name)
        if name != start and maker is not None and maker.output[0] not in found:
            found.add(maker.output[0])
            wanted += maker.input
    return found


def _closed(seen: Look, inside: set[str], end: str) -> bool:
    """Whether nothing outside reads what is made inside, but for its end."""
    made = {name for first in inside for name in seen.makers[first].output if name} - {end}
    readers = {each.output[0] for name in made for each in seen.readers.get(name, ())}
    return readers <= inside and not made & seen.outputs


def _name(seen: Look, inside: set[str], end: str) -> str:
    """Return what the names of the block's weights begin with, or its last value."""
    names = {name for first in inside for name in seen.makers[first].input if name in seen.constants}
    parts = zip(*(name.split(".")[:-1] for name in names), strict=False)
    return ".".join(part[0] for part in takewhile(lambda same: len(set(same)) == 1, parts)) or end
