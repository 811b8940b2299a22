"""Give a quantised model the levels of adaptive rounding in place of the nearest ones.

    rounded, count = round_adaptively(quantised, float_model, feed)

Decides: which operators: those whose inputs' moments are known. Scales and zero points stay. Leaves out: the rounding
(`rounding.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from controller.compress.calibrate.stream import Feed
from controller.compress.quantised.moments import Matrix, is_read_whole, moments_of_each
from controller.compress.quantised.rounding import adaround
from controller.compress.weights.operators import Weighted, replace_values, values_of, weighted

if TYPE_CHECKING:
    import onnx


def round_adaptively(
    quantised: onnx.ModelProto, plain: onnx.ModelProto, feed: Feed, limits: tuple[int, int] | None = None
) -> tuple[onnx.ModelProto, int]:
    """Return the quantised model with other levels, and of how many weights.

    Args:
        quantised: QDQ, made of `plain` by ONNX Runtime's quantiser: its constants have the names that it gives.
        plain: The float model that was quantised; constants among the initialisers.
        feed: Calibration samples.
        limits: Lowest and highest level; those of the weights' type when left out.
    """
    import onnx

    changed = onnx.ModelProto()
    changed.CopyFrom(quantised)
    constants = {each.name for each in changed.graph.initializer}
    own = [
        each
        for each in weighted(plain)
        if f"{each.weight}_quantized" in constants and not each.shared and is_read_whole(plain, each)
    ]
    for each, moments in moments_of_each(plain, own, feed):
        _round(changed, plain, each, (moments, limits))
    return changed, len(own)


def _round(
    changed: onnx.ModelProto, plain: onnx.ModelProto, each: Weighted, asked: tuple[Matrix, tuple[int, int] | None]
) -> None:
    moments, limits = asked
    name = f"{each.weight}_quantized"
    stored = values_of(changed, name)
    scale = values_of(changed, f"{each.weight}_scale").astype(np.float64).reshape(-1, 1)
    zero = values_of(changed, f"{each.weight}_zero_point").astype(np.int64).reshape(-1, 1)
    of_type = np.iinfo(stored.dtype)
    low, high = limits or (int(of_type.min - zero.min()), int(of_type.max - zero.max()))
    weight = each.matrix(values_of(plain, each.weight)).astype(np.float64)
    levels = adaround(weight, np.broadcast_to(scale, (len(weight), 1)), (low, high), moments)
    replace_values(changed, name, each.restored(levels + zero, stored.shape))
