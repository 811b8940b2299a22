"""The changes that make a student, one after the other.

Decides: their order: blocks go first and channels later, so that nothing is worked on that goes anyway; convolutions
are separated when their widths are final, and normalised last. Leaves out: each change (the modules beside).

    student, notes = derived(model, {**NOTHING, "width": 0.25, "separable": True}, seed=0)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any

from controller.compress.students.depth import shallower
from controller.compress.students.early.pools import pools_to_strides
from controller.compress.students.early.stages import stride_stages
from controller.compress.students.early.stride import stride_early
from controller.compress.students.fresh import refresh
from controller.compress.students.graph import prepared
from controller.compress.students.normalise import normalise
from controller.compress.students.planar import planar
from controller.compress.students.separable import separate
from controller.compress.students.width import narrow
from controller.errors import UnusableModel

if TYPE_CHECKING:
    import onnx

Change = Callable[["onnx.ModelProto"], "tuple[onnx.ModelProto, str]"]

NOTHING: Mapping[str, Any] = {
    "width": 1.0,
    "round_to": 1,
    "separable": False,
    "pools": "kept",
    "early_stride": 1,
    "stride_at": "stem",
    "later_strides": "kept",
    "stages": "kept",
    "depth": 1.0,
    "planar": False,
    "normalise": False,
    "weights": "inherited",
}
"""Parameters that change nothing."""

_STRIDE = ("early_stride", "stride_at", "later_strides")
_ALONE = ("separable", "pools", "stages", "depth")
"""Parameters that are allowed or not whatever the others are."""


def derived(baseline: onnx.ModelProto, given: Mapping[str, Any], seed: int) -> tuple[onnx.ModelProto, list[str]]:
    """Return the student, and what was done, in words.

    Args:
        baseline: Float, its constants as initialisers.
        given: Every parameter of the pass, as in `NOTHING`.
        seed: Of fresh weights.
    Raises:
        UnusableModel: The graph does not allow one of the changes, or none is asked for.
    """
    changes = _smaller(given, seed)
    if not changes:
        raise UnusableModel(
            "derive: nothing gets smaller: set width or depth below 1, separable, early_stride, pools: strides or "
            "stages: strided"
        )
    student, notes = prepared(baseline), []
    for change in (*changes, *_beginning(given, seed)):
        student, said = change(student)
        notes.append(said)
    return student, notes if given["weights"] == "fresh" else [*notes, "weights: inherited from what was not made anew"]


def possible(baseline: onnx.ModelProto, space: Mapping[str, Sequence[Any]]) -> dict[str, tuple[Any, ...]]:
    """Return the values of a space that this model allows, each tried alone; those that change nothing stay.

    Args:
        baseline: As `derived` takes it.
        space: Parameter -> values.
    """
    strides = product(*(space[name] for name in _STRIDE))
    fits = [
        values for values in strides if values[0] == 1 or _allowed(baseline, dict(zip(_STRIDE, values, strict=True)))
    ]
    kept: dict[str, tuple[Any, ...]] = {name: tuple(values) for name, values in space.items()}
    for place, name in enumerate(_STRIDE):
        longer = [values[place] for values in fits if values[0] > 1]
        kept[name] = tuple(v for v in space[name] if v in longer or v == NOTHING[name])
    narrowest, finest = {"width": min(space["width"])}, {"round_to": min(space["round_to"])}
    small = {**narrowest, **finest}
    for name, others in (("width", finest), ("round_to", narrowest), ("planar", small), *((n, {}) for n in _ALONE)):
        tried = [
            value for value in space[name] if value == NOTHING[name] or _allowed(baseline, {**others, name: value})
        ]
        kept[name] = tuple(tried) or (space[name][0],)
    return kept


def _allowed(baseline: onnx.ModelProto, given: Mapping[str, Any]) -> bool:
    try:
        derived(baseline, {**NOTHING, **given}, 0)
    except UnusableModel:
        return False
    return True


def _smaller(given: Mapping[str, Any], seed: int) -> list[Change]:
    def strided(model: onnx.ModelProto) -> tuple[onnx.ModelProto, str]:
        factor, at, later = (given[name] for name in _STRIDE)
        return stride_early(model, factor, at=at, later=later, seed=seed)

    changes: list[tuple[bool, Change]] = [
        (given["depth"] < 1, lambda model: shallower(model, given["depth"])),
        (given["pools"] == "strides", pools_to_strides),
        (given["early_stride"] > 1, strided),
        (given["stages"] == "strided", lambda model: stride_stages(model, seed)),
        (given["width"] < 1, lambda model: narrow(model, given["width"], given["round_to"])),
        (given["separable"], lambda model: separate(model, seed)),
    ]
    return [change for wanted, change in changes if wanted]


def _beginning(given: Mapping[str, Any], seed: int) -> list[Change]:
    """Return what makes a student ready to be trained."""
    fresh: list[Change] = [lambda model: refresh(model, seed)] if given["weights"] == "fresh" else []
    rows: list[Change] = [planar] if given["planar"] else []  # last: weights are drawn by their names
    return [*([normalise] if given["normalise"] else []), *fresh, *rows]
