"""Which candidates can be afforded: training takes minutes, and one that takes too long would take the others' place.

Decides: what training costs by what it cost before, and how much of it is tried before anything is known. Leaves out:
who ends a candidate that takes longer all the same (`loop.py`). Pure.

    affordable(recipe, rows, macs=30_000_000, longest_s=450)  # False: its steps would take an hour
"""

import statistics
from collections.abc import Sequence

from controller.compress.passes import STUDENTS, find_pass
from controller.compress.recipe import PassStep, Recipe
from controller.compress.search.study import Row

FIRST_MACS = 3e12
"""Multiply-accumulates, of all samples that are seen, of the first candidates which train: a minute or a few."""

STUDENT_SHARE = 0.1
"""Of the baseline's multiply-accumulates, as long as nobody has counted a student's."""

FEWEST_KNOWN = 3
MARGIN = 1.5
"""Networks differ in what a sample costs them."""


def trains(step: PassStep) -> bool:
    """Tell whether a step trains."""
    return step.converted is None and find_pass(step.name).needs.training


def is_trained(recipe: Recipe) -> bool:
    """Tell whether a pass of a recipe trains."""
    return any(trains(step) for step in recipe.passes)


def work_of(recipe: Recipe) -> int:
    """Return how many samples a recipe's training passes see in all; 0: none of them trains."""
    given = [step.parameters for step in recipe.passes if trains(step) and "steps" in step.parameters]
    return sum(int(each["steps"]) * int(each["batch"]) for each in given)


def affordable(recipe: Recipe, rows: Sequence[Row], macs: int, longest_s: float) -> bool:
    """Tell whether a candidate is likely to be done in time.

    Students are reckoned from students, and the whole network from the whole network.

    Args:
        recipe: Of the candidate.
        rows: What was tried.
        macs: Multiply-accumulates of the baseline.
        longest_s: The time that one candidate may take [s].
    """
    work, student = work_of(recipe), is_student(recipe)
    if not work:
        return True
    tried = [(row, row.as_recipe()) for row in rows if not row.cached]
    known = [row.wall_s / done for row, one in tried if is_student(one) is student and (done := work_of(one))]
    if len(known) < FEWEST_KNOWN and work * macs * (STUDENT_SHARE if student else 1.0) > FIRST_MACS:
        return False
    return not known or MARGIN * statistics.median(known) * work <= longest_s


def is_student(recipe: Recipe) -> bool:
    """Tell whether a recipe puts another network in the baseline's place."""
    return not set(recipe.pass_names).isdisjoint(STUDENTS)
