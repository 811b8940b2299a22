"""From scores to classes: softmax, sigmoid, the largest k."""

import numpy as np
from numpy.typing import NDArray

from agent.inference.kernels.compiled import inner, kernel

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


@inner
def better(scores: Floats, one: int, other: int) -> bool:
    """Return whether class `one` stands before `other`: larger score, then lower index; NaN counts as lowest."""
    if scores[one] > scores[other]:
        return True
    if scores[one] == scores[other] or (np.isnan(scores[one]) and np.isnan(scores[other])):
        return one < other
    return bool(np.isnan(scores[other]) and not np.isnan(scores[one]))


@inner
def sink(scores: Floats, heap: Indices, place: int, size: int) -> None:
    """Let the class at `place` of a heap with the worst class on top sink to where it belongs."""
    while 2 * place + 1 < size:
        worst = 2 * place + 1
        if worst + 1 < size and better(scores, heap[worst], heap[worst + 1]):
            worst += 1
        if not better(scores, heap[place], heap[worst]):
            return
        heap[place], heap[worst] = heap[worst], heap[place]
        place = worst


@kernel("void(float32[::1], int64[::1])")
def top_k(scores: Floats, out: Indices) -> None:
    """Indices of the largest scores, largest first; of equal ones the lower index; NaN counts as lowest.

    A heap of the best ones so far, the worst of them on top: O(classes * log k).

    Args:
        scores: Shape (classes,).
        out: Result, shape (k,), k <= classes.
    """
    size = out.shape[0]
    for place in range(size):
        out[place] = place
    for step in range(size // 2):
        sink(scores, out, size // 2 - 1 - step, size)
    for index in range(size, scores.shape[0]):
        if better(scores, index, out[0]):
            out[0] = index
            sink(scores, out, 0, size)
    for step in range(size - 1):
        last = size - 1 - step
        out[0], out[last] = out[last], out[0]
        sink(scores, out, 0, last)
