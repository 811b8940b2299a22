"""How far a variant's raw outputs lie from the baseline's; no labels are needed."""

import numpy as np
from numpy.typing import NDArray

from controller.compress.metrics.worth import Array


def sqnr_db(reference: Array, outputs: Array) -> float | None:
    """Return the ratio of the reference's power to that of the difference [dB]; None when nothing differs.

    Raises:
        ValueError: Shapes that differ.
    """
    if reference.shape != outputs.shape:
        raise ValueError(f"outputs of shape {outputs.shape}, reference of shape {reference.shape}")
    exact = reference.astype(np.float64)
    noise = float(np.square(outputs.astype(np.float64) - exact).sum())
    if noise == 0.0:
        return None
    power = float(np.square(exact).sum())
    return 10.0 * float(np.log10(power / noise)) if power > 0 else float("-inf")


def top1_agreement_ratio(reference: Array, outputs: Array) -> float:
    """Return the share of samples whose largest output is the same, 0 to 1. Shapes (n, k)."""
    return float((reference.argmax(axis=1) == outputs.argmax(axis=1)).mean())


def cosines(reference: Array, outputs: Array) -> NDArray[np.float64]:
    """Return the cosine of each sample's outputs to the reference's, shape (n,).

    Two that are zero altogether agree (1); one that is zero agrees with nothing (0).

    Args:
        reference: Shape (n, …).
        outputs: Same shape.
    Raises:
        ValueError: Shapes that differ.
    """
    if reference.shape != outputs.shape:
        raise ValueError(f"outputs of shape {outputs.shape}, reference of shape {reference.shape}")
    one, other = (each.reshape(len(each), -1).astype(np.float64) for each in (reference, outputs))
    lengths = np.linalg.norm(one, axis=1), np.linalg.norm(other, axis=1)
    both = lengths[0] * lengths[1]
    found = np.divide((one * other).sum(axis=1), both, out=np.zeros(len(one)), where=both > 0)
    found[(lengths[0] == 0) & (lengths[1] == 0)] = 1.0
    same = (one == other).all(axis=1)  # a root and its square need not meet again
    return np.asarray(np.where(same, 1.0, np.clip(found, -1.0, 1.0)), dtype=np.float64)
