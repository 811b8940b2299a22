"""From scores to classes: softmax, sigmoid, the largest k."""

import numpy as np
from numpy.typing import NDArray

from agent.inference.kernels.compiled import kernel

Floats = NDArray[np.float32]
Indices = NDArray[np.int64]


@kernel("void(float32[::1], float32[::1])")
def softmax(scores: Floats, out: Floats) -> None:
    """exp(scores - max) / sum, accumulated in float64."""
    largest = scores[0]
    for index in range(1, scores.shape[0]):
        largest = max(largest, scores[index])
    total = 0.0
    for index in range(scores.shape[0]):
        total += np.exp(np.float64(scores[index]) - np.float64(largest))
    for index in range(scores.shape[0]):
        out[index] = np.exp(np.float64(scores[index]) - np.float64(largest)) / total


@kernel("void(float32[::1], float32[::1])")
def sigmoid(scores: Floats, out: Floats) -> None:
    """1 / (1 + exp(-score)), without overflow at either end."""
    for index in range(scores.shape[0]):
        power = np.exp(-abs(np.float64(scores[index])))
        share = power / (1.0 + power)
        out[index] = 1.0 - share if scores[index] >= 0 else share


@kernel("void(float32[::1], int64[::1])")
def top_k(scores: Floats, out: Indices) -> None:
    """Indices of the largest scores, largest first; of equal ones the lower index; NaN counts as lowest.

    Args:
        scores: Shape (classes,).
        out: Result, shape (k,), k <= classes.
    """
    for place in range(out.shape[0]):
        best = -1
        for index in range(scores.shape[0]):
            taken = False
            for earlier in range(place):
                taken = taken or out[earlier] == index
            if taken:
                continue
            if best < 0 or scores[index] > scores[best] or (np.isnan(scores[best]) and not np.isnan(scores[index])):
                best = index
        out[place] = best
