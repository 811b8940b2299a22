"""Operators that move values about, and means and sums over axes.

Decides: that a graph exported for one sample runs for many: a 1 at the front of a shape to reshape to stands for the
batch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from controller.convert.workers.frame import Unusable

if TYPE_CHECKING:
    from controller.compress.training.network.operators import Call

_TYPES = {1: torch.float32, 6: torch.int32, 7: torch.int64, 9: torch.bool, 10: torch.float16, 11: torch.float64}


def numbers(value: Any) -> list[int]:
    """Return a tensor or a list as whole numbers."""
    return [int(each) for each in (value.flatten().tolist() if isinstance(value, torch.Tensor) else value)]


def reshape(call: Call) -> Tensor:
    x, wanted = call.given[0], numbers(call.given[1])
    if not call.get("allowzero", 0):
        wanted = [x.shape[axis] if size == 0 else size for axis, size in enumerate(wanted)]
    if x.shape[0] == call.batch != 1 and wanted[0] == 1:
        wanted[0] = call.batch
    return x.reshape(wanted)


def flatten(call: Call) -> Tensor:
    axis = call.get("axis", 1)
    axis = axis % call.given[0].dim() if axis < 0 else axis
    if axis == 0:
        return call.given[0].reshape(1, -1)
    return call.given[0].flatten(axis).flatten(0, axis - 1) if axis > 1 else call.given[0].flatten(1)


def transpose(call: Call) -> Tensor:
    order = call.get("perm") or list(reversed(range(call.given[0].dim())))
    return call.given[0].permute(list(order))


def squeeze(call: Call) -> Tensor:
    axes = _axes(call)
    if axes is None:
        raise Unusable("training goes through a Squeeze only where it names its axes")
    found = call.given[0]
    for axis in sorted((each % found.dim() for each in axes), reverse=True):
        found = found.squeeze(axis)
    return found


def unsqueeze(call: Call) -> Tensor:
    found, axes = call.given[0], _axes(call) or []
    rank = found.dim() + len(axes)
    for axis in sorted(each % rank for each in axes):
        found = found.unsqueeze(axis)
    return found


def reduction(function: Callable[..., Tensor]) -> Callable[[Call], Tensor]:
    """Return a reduction over the axes that the operator names, or over all."""

    def run(call: Call) -> Tensor:
        x, axes = call.given[0], _axes(call)
        if axes is None and call.get("noop_with_empty_axes", 0):
            return x
        chosen = tuple(axes) if axes is not None else tuple(range(x.dim()))
        return function(x, dim=chosen, keepdim=bool(call.get("keepdims", 1)))

    return run


def concat(call: Call) -> Tensor:
    return torch.cat(list(call.given), dim=call.get("axis"))


def split(call: Call) -> tuple[Tensor, ...]:
    x, axis = call.given[0], call.get("axis", 0)
    sizes = call.given[1] if call.input(1) is not None else call.get("split")
    if sizes is not None:
        return tuple(torch.split(x, numbers(sizes), dim=axis))
    return tuple(torch.tensor_split(x, int(call.get("num_outputs", 2)), dim=axis))


def slice_(call: Call) -> Tensor:
    x, starts, ends = call.given[0], numbers(call.given[1]), numbers(call.given[2])
    axes = numbers(call.given[3]) if call.input(3) is not None else list(range(len(starts)))
    steps = numbers(call.given[4]) if call.input(4) is not None else [1] * len(starts)
    if min(steps) < 1:
        raise Unusable("training goes through no Slice with steps below 1")
    places = [slice(None)] * x.dim()
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        places[axis] = slice(start, end, step)
    return x[tuple(places)]


def gather(call: Call) -> Tensor:
    x, places, axis = call.given[0], call.given[1], call.get("axis", 0) % call.given[0].dim()
    places = torch.where(places < 0, places + x.shape[axis], places)
    found = torch.index_select(x, axis, places.reshape(-1))
    return found.reshape([*x.shape[:axis], *places.shape, *x.shape[axis + 1 :]])


def cast(call: Call) -> Tensor:
    to = call.get("to")
    if to not in _TYPES:
        raise Unusable(f"training goes through no Cast to type {to}")
    return call.given[0].to(_TYPES[to])


def expand(call: Call) -> Tensor:
    shape = torch.broadcast_shapes(tuple(call.given[0].shape), tuple(numbers(call.given[1])))
    return call.given[0].expand(shape)


def _axes(call: Call) -> list[int] | None:
    found = call.input(1) if call.input(1) is not None else call.get("axes")
    return None if found is None else numbers(found)


OPERATORS: dict[str, Callable[[Call], Any]] = {
    "Reshape": reshape, "Flatten": flatten, "Transpose": transpose, "Squeeze": squeeze, "Unsqueeze": unsqueeze,
    "Concat": concat, "Split": split, "Slice": slice_, "Gather": gather, "Cast": cast, "Expand": expand,
    "ReduceMean": reduction(torch.mean), "ReduceSum": reduction(torch.sum), "ReduceMax": reduction(torch.amax),
    "Identity": lambda call: call.given[0], "Dropout": lambda call: call.given[0],
    "Shape": lambda call: torch.tensor(call.given[0].shape),
}  # fmt: skip
