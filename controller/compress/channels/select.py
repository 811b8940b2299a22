"""Which channels may go: the least important of each width, in numbers that engines like. Pure.

Decides: what a channel is worth and how many stay. Leaves out: taking them out (`cut.py`) and training afterwards.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from controller.compress.channels.atoms import Numbers, components
from controller.compress.channels.trace import Traced

Scores = NDArray[np.float64]
Scope = Literal["layer", "global"]


def importances(traced: Traced, weights: Mapping[str, NDArray[Any]], power: float = 2.0) -> Scores:
    """Return what each atom is worth: the mean over its weights of their norm, each relative to its weight's mean.

    A channel is judged with all that make it and read it, as the group importance of "DepGraph" (Fang et al., CVPR
    2023); relative to the mean, so that weights of large numbers do not outvote others.

    Args:
        traced: Of the model.
        weights: Name -> values.
        power: Of the norm: 1 adds absolute values, 2 is the Euclidean norm.
    Returns:
        Shape (atoms,); only those of atoms that stand for others mean something.
    """
    total, count = np.zeros(len(traced.atoms)), np.zeros(len(traced.atoms))
    for piece in (each for each in traced.pieces if each.role != "along"):
        values = np.moveaxis(np.abs(weights[piece.tensor].astype(np.float64)), piece.axis, 0)
        norms = (values.reshape(len(values), -1) ** power).sum(axis=1) ** (1 / power)
        mean = norms.mean() or 1.0
        roots = traced.atoms.roots(piece.atoms)
        np.add.at(total, roots, norms / mean)
        np.add.at(count, roots, 1)
    return total / np.maximum(count, 1)


def select(traced: Traced, scores: Scores, amount: float, *, round_to: int = 1, scope: Scope = "layer") -> Numbers:
    """Return the free atoms that go, sorted.

    Args:
        traced: Of the model.
        scores: As `importances` returns them.
        amount: Share of the channels to take out, 0 to below 1: of each width, or of all with scope `global`.
        round_to: What stays of a width is a multiple of it, rounded up, or the whole width; so many stay at least.
        scope: `global` compares scores across widths, and takes more where little is lost.
    Raises:
        ValueError: `amount` or `round_to` is out of range.
    """
    if not 0 <= amount < 1 or round_to < 1:
        raise ValueError(f"amount {amount} must be 0 to below 1, round_to {round_to} at least 1")
    widths = components(traced.atoms, traced.pieces)
    kept_of = _each_width(amount) if scope == "layer" else _overall(widths, scores, amount)
    gone = [_least(width, scores, _rounded(kept_of(width), round_to, len(width))) for width in widths]
    return _without_empty(traced, scores, np.concatenate([*gone, np.empty(0, dtype=np.int64)]))


def _without_empty(traced: Traced, scores: Scores, gone: Numbers) -> Numbers:
    """Keep the best channel of each weight that would have none: a width may be made of several weights' channels."""
    taken = set(gone.tolist())
    for piece in traced.pieces:
        roots = traced.atoms.roots(piece.atoms)
        if len(roots) and taken.issuperset(roots.tolist()):
            taken.discard(int(roots[np.argmax(scores[roots])]))
    return np.array(sorted(taken), dtype=np.int64)


def _each_width(amount: float) -> Callable[[Numbers], int]:
    return lambda width: round(len(width) * (1 - amount))


def _overall(widths: list[Numbers], scores: Scores, amount: float) -> Callable[[Numbers], int]:
    """Return how many of a width are above the score that the least important share of all channels reaches."""
    every = np.sort(scores[np.concatenate([*widths, np.empty(0, dtype=np.int64)])])
    gone = round(len(every) * amount)
    least = -np.inf if gone == 0 else every[gone - 1]
    return lambda width: int((scores[width] > least).sum())


def _rounded(kept: int, round_to: int, width: int) -> int:
    return min(width, max(1, -(-kept // round_to)) * round_to)


def _least(width: Numbers, scores: Scores, kept: int) -> Numbers:
    order = np.argsort(scores[width], kind="stable")
    return width[order[: len(width) - kept]]
