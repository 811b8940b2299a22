"""Rows of features, and regression's way back into the target's units."""

import numpy as np
from numpy.typing import NDArray

from agent.inference.kernels.compiled import kernel
from agent.inference.kernels.series import LARGEST

Doubles = NDArray[np.float64]
Floats = NDArray[np.float32]

NAN_RULES = {"error": 0, "zero": 1, "mean": 2}
"""Name in the specification -> number in the kernel."""


@kernel("int64(float64[::1], int64, float64[::1])")
def repair_row(values: Doubles, rule: int, mean: Doubles) -> int:
    """Replace what is not finite or beyond `LARGEST`, in place.

    Args:
        values: Shape (features,).
        rule: One of `NAN_RULES`.
        mean: Training mean of each feature, shape (features,).
    Returns:
        How many values could not be repaired.
    """
    bad = 0
    for feature in range(values.shape[0]):
        if not abs(values[feature]) <= LARGEST:
            if rule == 1:
                values[feature] = 0.0
            elif rule == 2:
                values[feature] = mean[feature]
            else:
                bad += 1
    return bad


@kernel("void(float32[::1], float64[::1], float64[::1], float64[::1])")
def rescale(raw: Floats, scale: Doubles, offset: Doubles, out: Doubles) -> None:
    """raw * scale + offset, each of `scale` and `offset` of shape (outputs,)."""
    for index in range(raw.shape[0]):
        out[index] = raw[index] * scale[index] + offset[index]
