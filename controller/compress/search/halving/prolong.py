"""Successive halving over the steps of training: every candidate is trained shortly first, the best are prolonged.

Decides: which candidates are worth a longer training: those over the limit that would be faster or smaller than the
best so far, half of each length, least loss first. A longer training is another recipe, from nothing: the rate falls
over all of it. Recipes to begin with are taken as they are. Leaves out: what can be afforded (`cost.py`). Pure.

    shortened(space, recipe)  # with the fewest steps that the space has for its training pass
    next(prolonged(space, rows), None)  # the recipe that is most worth twice the steps

Source: Li et al., *A System for Massively Parallel Hyperparameter Tuning*, MLSys 2020 (asynchronous halving).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from controller.compress.recipe import Recipe
from controller.compress.search.genome import TRAINING, Space, compose, encode, key_of

if TYPE_CHECKING:
    from controller.compress.search.study import Row  # which asks here what comes next

HALVED = 2
"""One of so many goes on."""

UNSEEN = frozenset({"failed", "hopeless", "too_long", "cut_off"})


def shortened(space: Space, recipe: Recipe) -> Recipe:
    """Return a recipe with its shortest training; one that does not train, or is taken as a whole, as it is."""
    gene = _gene(space, recipe)
    return recipe if gene is None else _with(space, recipe, gene, min(space.values[gene]))


def prolonged(space: Space, rows: Sequence[Row]) -> Iterator[Recipe]:
    """Yield the recipes that are worth trying with more steps, those of the longest training first.

    Args:
        space: Whose values are the lengths.
        rows: What was tried.
    """
    known = {row.key for row in rows}
    best = min((row for row in rows if row.ratio), key=lambda row: (row.ratio, row.key), default=None)
    seen = [(row, row.as_recipe()) for row in rows if row.outcome not in UNSEEN and row.loss is not None]
    genes = [(row, recipe, gene) for row, recipe in seen if (gene := _gene(space, recipe)) is not None]
    for gene in dict.fromkeys(gene for *_, gene in genes):
        for length, longer in reversed(list(pairwise(sorted(space.values[gene])))):
            at = [(row, recipe) for row, recipe, its in genes if its == gene and _steps(recipe, gene) == length]
            worth = sorted((one for one in at if _promises(one[0], best)), key=lambda one: (one[0].loss, one[0].key))
            for _, recipe in worth[: -(-len(at) // HALVED)]:
                found = _with(space, recipe, gene, longer)
                if key_of(found) not in known:
                    yield found


def _promises(row: Row, best: Row | None) -> bool:
    """Whether a candidate over the limit would be worth having if it kept it: macs stand for the time nobody took."""
    if row.outcome != "over_limit":
        return False
    if best is None or best.macs is None or row.macs is None:
        return True
    return row.macs < best.macs or (row.wire_ratio or 1.0) < (best.wire_ratio or 1.0)


def _gene(space: Space, recipe: Recipe) -> str | None:
    """Return the choice that says how long a recipe trains, or None."""
    if recipe.name in space.whole:
        return None
    names = [f"{step.name}.steps" for step in recipe.passes if step.name in TRAINING.passes]
    return names[0] if len(names) == 1 and names[0] in space.genes else None


def _steps(recipe: Recipe, gene: str) -> int:
    name = gene.partition(".")[0]
    return next(int(step.parameters["steps"]) for step in recipe.passes if step.name == name)


def _with(space: Space, recipe: Recipe, gene: str, steps: int) -> Recipe:
    try:
        return compose(space, {**encode(space, recipe), gene: steps})
    except ValueError:
        return recipe  # of other passes or values than the space has
