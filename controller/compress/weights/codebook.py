"""Weights as places in a short table: quantisation with levels that are not evenly apart. Pure.

Decides: the levels (k-means of the weights, powers of two, mu-law) and which one a weight takes. Leaves out: how table
and places lie in a file (`passes/codebook.py`).
"""

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Levels = NDArray[np.float64]
Kind = Literal["kmeans", "power_of_two", "mu_law"]
ROUNDS = 50
MU = 255.0
"""Of ITU-T G.711."""


def levels(weights: NDArray[Any], bits: int, kind: Kind) -> Levels:
    """Return at most 2**bits levels for some weights, sorted; zero is one of them, except among k-means'.

    Args:
        weights: Of any shape, finite.
        bits: 1 to 8.
        kind: `kmeans`: "Deep Compression" (Han et al., 2016), here from quantiles and to the end, since one dimension
            is cheap. `power_of_two`: "Convolutional Neural Networks using Logarithmic Data Representation" (Miyashita
            et al., 2016). `mu_law`: evenly apart after companding.
    Raises:
        ValueError: `bits` is out of range, or a weight is not finite.
    """
    values = np.asarray(weights, dtype=np.float64).ravel()
    if not 1 <= bits <= 8:
        raise ValueError(f"bits {bits}: expected 1 to 8")
    if not np.isfinite(values).all():
        raise ValueError("a weight is NaN or infinite")
    return _MAKERS[kind](values, 2**bits)


def places(weights: NDArray[Any], table: Levels) -> NDArray[np.uint8]:
    """Return the nearest level of each weight; between two the lower.

    Args:
        weights: Of any shape.
        table: Sorted levels, at most 256.
    """
    between = (table[:-1] + table[1:]) / 2
    return np.searchsorted(between, np.asarray(weights, dtype=np.float64), side="left").astype(np.uint8)


def _kmeans(values: NDArray[np.float64], count: int) -> Levels:
    """Lloyd's rounds; sums over sorted values make a round cheap."""
    ordered = np.sort(values)
    distinct = np.unique(ordered)
    if len(distinct) <= count:
        return distinct
    sums = np.concatenate([[0.0], np.cumsum(ordered)])
    table = np.unique(np.quantile(distinct, (np.arange(count) + 0.5) / count))
    for _ in range(ROUNDS):
        edges = np.searchsorted(ordered, (table[:-1] + table[1:]) / 2, side="right")
        starts, ends = np.concatenate([[0], edges]), np.concatenate([edges, [len(ordered)]])
        filled = ends > starts
        moved = (sums[ends] - sums[starts])[filled] / (ends - starts)[filled]
        if len(moved) == len(table) and np.array_equal(moved, table):
            break
        table = moved
    return table


def _power_of_two(values: NDArray[np.float64], count: int) -> Levels:
    """Zero and as many powers on either side as there is room for, down from the largest weight's."""
    largest = np.abs(values).max(initial=0.0)
    if largest == 0:
        return np.zeros(1)
    exponents = round(float(np.log2(largest))) - np.arange(max(1, (count - 1) // 2))
    powers = np.ldexp(1.0, exponents.astype(int))
    return np.unique(np.concatenate([[0.0], powers, -powers]))[-count:]


def _mu_law(values: NDArray[np.float64], count: int) -> Levels:
    largest = np.abs(values).max(initial=0.0)
    steps = np.arange(-((count - 1) // 2), count // 2 + 1)[-count:] / max(1, count // 2)
    expanded = np.sign(steps) * ((1 + MU) ** np.abs(steps) - 1) / MU
    return np.unique(expanded * largest)


_MAKERS: dict[str, Callable[[NDArray[np.float64], int], Levels]] = {
    "kmeans": _kmeans,
    "power_of_two": _power_of_two,
    "mu_law": _mu_law,
}
