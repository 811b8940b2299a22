"""Set the least important weights to zero: pruning without a structure, and N of every M. Pure.

No engine here skips single zeros, so neither runs faster; zeros pack well, so what goes over the wire shrinks. N:M
(2:4) is what sparse tensor cores of NVIDIA read.
"""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Masks = dict[str, NDArray[np.bool_]]
Scope = Literal["layer", "global"]


def masks(importance: Mapping[str, NDArray[Any]], amount: float, scope: Scope = "layer") -> Masks:
    """Return which weights stay: those of the largest importance (for magnitude pruning, their absolute values).

    "To prune, or not to prune" (Zhu and Gupta, 2017) prunes each layer alike; `global` compares all of them, as in
    "What is the State of Neural Network Pruning?" (Blalock et al., 2020).

    Args:
        importance: Weight -> a number of 0 or more for each of its values.
        amount: Share that becomes zero, 0 to 1: of each weight, or of all together.
        scope: See above.
    Returns:
        Weight -> True where a value stays. Of equal ones the first stay.
    Raises:
        ValueError: `amount` is out of range.
    """
    if not 0 <= amount <= 1:
        raise ValueError(f"amount {amount}: expected 0 to 1")
    if scope == "layer":
        return {name: _largest(each.ravel(), amount).reshape(each.shape) for name, each in importance.items()}
    every = np.concatenate([np.empty(0), *(each.ravel() for each in importance.values())])
    stays, at, found = _largest(every, amount), 0, {}
    for name, each in importance.items():
        found[name] = stays[at : at + each.size].reshape(each.shape)
        at += each.size
    return found


def n_of_m(importance: NDArray[Any], n: int, m: int) -> NDArray[np.bool_]:
    """Return which weights of a matrix stay: the n most important of every m that follow each other in a row.

    Args:
        importance: Shape (rows, columns); what does not fill a group of m at the end of a row stays.
        n: At least 1, at most m.
        m: Length of a group.
    Raises:
        ValueError: n or m is out of range.
    """
    if not 1 <= n <= m:
        raise ValueError(f"{n} of {m}: expected at least 1 and at most all")
    stays = np.ones(importance.shape, dtype=bool)
    whole = importance.shape[1] // m * m
    groups = importance[:, :whole].reshape(len(importance), -1, m)
    order = np.argsort(-groups, axis=2, kind="stable")
    kept = np.zeros(groups.shape, dtype=bool)
    np.put_along_axis(kept, order[:, :, :n], values=True, axis=2)
    stays[:, :whole] = kept.reshape(len(importance), whole)
    return stays


def _largest(importance: NDArray[Any], amount: float) -> NDArray[np.bool_]:
    stays = np.zeros(importance.size, dtype=bool)
    count = importance.size - round(importance.size * amount)
    stays[np.argsort(-importance, kind="stable")[:count]] = True
    return stays
