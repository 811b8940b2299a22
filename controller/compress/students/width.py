"""Fewer channels: every width times a factor, and whatever depends on it with it.

Decides: nothing of its own: which channels belong together is `channels/trace.py`'s, and the best ones stay, so that a
student can inherit them.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from controller.compress.channels import atoms, cut, select, trace
from controller.errors import UnusableModel

if TYPE_CHECKING:
    import onnx


def narrow(model: onnx.ModelProto, width: float, round_to: int) -> tuple[onnx.ModelProto, str]:
    """Return the model with fewer channels, and what was done.

    Args:
        model: As `prepared` returns it.
        width: Share of each width that stays, in (0, 1].
        round_to: What stays is a multiple of it, rounded up, or the whole width where that is less.
    Raises:
        UnusableModel: No channel goes.
    """
    from onnx import numpy_helper

    traced = trace.trace(model)
    weights = {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}
    gone = select.select(traced, select.importances(traced, weights), 1 - width, round_to=round_to)
    widths = atoms.components(traced.atoms, traced.pieces)
    if not widths:
        raise UnusableModel("width: the operators of this network mix its channels in ways that are not followed")
    said = _said(widths, gone)
    if len(gone) == 0:
        raise UnusableModel(
            f"width {width} of {said}, rounded up to a multiple of {round_to}, leaves them whole: take a smaller width "
            f"or round_to"
        )
    return cut.cut(model, traced, gone), f"width {width}, multiples of {round_to}: channels {said}"


def _said(widths: list[atoms.Numbers], gone: atoms.Numbers) -> str:
    """Return each width as it was and is, how often it stands there."""
    counts = Counter((len(each), len(each) - int(np.isin(each, gone).sum())) for each in widths)
    return ", ".join(
        (f"{before} -> {after}" if before != after else str(before)) + (f" ({often} times)" if often > 1 else "")
        for (before, after), often in sorted(counts.items())
    )
