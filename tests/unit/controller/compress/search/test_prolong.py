"""Short trainings first, and who gets a longer one."""

from pathlib import Path
from typing import Any

import pytest

from controller.compress.recipe import Recipe
from controller.compress.search.genome import Space, Stage
from controller.compress.search.halving.prolong import prolonged, shortened
from controller.compress.search.study import Row, Study
from tests.unit.controller.compress.search.spaces import recipe, row

LENGTHS = (500, 1000, 2000)
SPACE = Space(
    stages=(Stage("training", ("fine_tune", "distill")), Stage("precision", ("float16",))),
    values={"distill.steps": LENGTHS, "distill.alpha": (0.0, 0.1, 0.5), "distill.rate": (0.01, 0.02)},
    prefix=("simplify",),
)


def taught(steps: int, alpha: float = 0.0) -> Recipe:
    return recipe("taught", {"simplify": {}}, {"distill": {"steps": steps, "alpha": alpha, "rate": 0.01}})


def over(steps: int, alpha: float, loss: float, macs: int = 10, **more: Any) -> Row:
    fields = {"outcome": "over_limit", "loss": loss, "ratio": None, "macs": macs, **more}
    return row(taught(steps, alpha), **fields)


def steps_and_alpha(found: Recipe) -> tuple[int, float]:
    given = found.passes[-1].parameters
    return given["steps"], given["alpha"]


def test_a_training_is_short_first_and_nothing_else_changes() -> None:
    assert steps_and_alpha(shortened(SPACE, taught(2000, 0.1))) == (500, 0.1)
    plain = recipe("float16", {"simplify": {}}, {"float16": {}})
    assert shortened(SPACE, plain) is plain


def test_half_of_each_length_goes_on_least_loss_first_and_longer_ones_before() -> None:
    rows = [over(500, alpha, loss) for alpha, loss in ((0.0, 0.2), (0.1, 0.05), (0.5, 0.1))]
    assert [steps_and_alpha(one) for one in prolonged(SPACE, rows)] == [(1000, 0.1), (1000, 0.5)]
    rows += [over(1000, 0.1, 0.04), over(1000, 0.5, 0.06)]
    assert [steps_and_alpha(one) for one in prolonged(SPACE, rows)] == [(2000, 0.1)]
    rows.append(over(2000, 0.1, 0.03))
    assert list(prolonged(SPACE, rows)) == []


@pytest.mark.parametrize(
    ("macs", "wire", "worth"), [(5, 0.9, True), (20, 0.1, True), (20, 0.9, False), (10, 0.5, False)]
)
def test_what_would_be_neither_faster_nor_smaller_than_the_best_is_not_worth_it(
    macs: int, wire: float, worth: bool
) -> None:
    best = row(taught(500, 0.5), macs=10, wire_ratio=0.5)
    assert bool(list(prolonged(SPACE, [best, over(500, 0.0, 0.02, macs, wire_ratio=wire)]))) is worth


@pytest.mark.parametrize("outcome", ["failed", "hopeless", "too_long", "timed"])
def test_what_failed_or_keeps_the_limit_is_not_prolonged(outcome: str) -> None:
    assert list(prolonged(SPACE, [over(500, 0.0, 0.02, outcome=outcome)])) == []


def test_a_study_asks_for_short_trainings_and_then_for_the_best_longer(tmp_path: Path) -> None:
    study, limit = Study.open(tmp_path / "study.log", SPACE, seed=0), 0.01
    asked = []
    for _ in range(12):
        one = study.ask()
        assert one is not None
        trains = one.recipe.pass_names[1:2] == ("distill",)
        steps = one.recipe.passes[1].parameters["steps"] if trains else 0
        asked.append(steps)
        told = {"outcome": "over_limit", "loss": 0.1, "ratio": None} if trains else {}
        study.tell(one, row(one.recipe, **told), limit)
    trained = [steps for steps in asked if steps]
    assert trained[0] == 500
    assert 1000 in trained
    assert all(
        steps == 500 or LENGTHS[LENGTHS.index(steps) - 1] in trained[:place] for place, steps in enumerate(trained)
    )
