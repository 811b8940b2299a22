"""Choices and recipes: there and back, legal orders, what means the same, what means nothing."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.compress.recipe import Recipe
from controller.compress.search.genome import Contradiction, Space, Stage, compose, encode, key_of
from controller.compress.search.space import space_of
from controller.compress.shipped import shipped_recipes
from controller.models.folder import ModelFolder
from tests.unit.controller.compress.search.spaces import FLOAT, HALF, INT8, recipe, small_space

REFERENCE = ModelFolder.load(Path(__file__).parents[5] / "models" / "fashion")
WHOLE = space_of(REFERENCE, tuple(shipped_recipes().values()))


@pytest.mark.parametrize("seed", WHOLE.seeds, ids=lambda one: one.name)
def test_every_shipped_recipe_is_found_again_by_its_choices(seed: Recipe) -> None:
    found = compose(WHOLE, encode(WHOLE, seed))
    assert (found.name, key_of(found)) == (seed.name, key_of(seed))


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_choices_make_a_recipe_in_legal_order_or_say_that_they_do_not(data: st.DataObject) -> None:
    genome = {name: data.draw(st.sampled_from(choices), label=name) for name, choices in WHOLE.genes.items()}
    try:
        found = compose(WHOLE, genome)
    except Contradiction:
        pytest.fail("all spaces of this release compose")
    order = ["simplify", *(name for stage in WHOLE.stages for each in stage.passes for name in each.split("+"))]
    names = found.pass_names
    if found.name not in WHOLE.whole:
        assert list(names) == sorted(names, key=order.index)
    assert "derive" not in names or set(names) & {"fine_tune", "distill", "gradual_prune"}
    again = compose(WHOLE, encode(WHOLE, found))
    assert key_of(again) == key_of(found)


def test_parameters_that_mean_nothing_are_left_out() -> None:
    space = small_space()
    genome = {"precision": "quantize_static", "quantize_static.calibration": "minmax"}
    same = [compose(space, {**genome, "quantize_static.percentile": value}) for value in (99.9, 99.99)]
    assert same[0] == same[1]
    assert same[0].passes[1].parameters["percentile"] is None
    other = {**genome, "quantize_static.calibration": "percentile", "quantize_static.percentile": 99.99}
    assert compose(space, other).passes[1].parameters["percentile"] == 99.99


def test_what_is_equal_to_a_shipped_recipe_carries_its_name_and_others_the_same_name_each_time() -> None:
    space = small_space(HALF, INT8)
    assert compose(space, {"precision": "float16"}) == HALF
    found = compose(space, {"weights": "prune", "prune.amount": 0.5})
    assert found.name.startswith("auto-")
    assert compose(space, {"weights": "prune", "prune.amount": 0.5}).name == found.name
    assert compose(space, {"weights": "prune", "prune.amount": 0.3}).name != found.name


@pytest.mark.parametrize(
    "other",
    [
        recipe("twice", {"prune": {"amount": 0.3}}, {"prune": {"amount": 0.5}}),
        recipe("elsewhere", {"simplify": {}}, {"low_rank": {}}),
        recipe("value", {"simplify": {}}, {"prune": {"amount": 0.77}}),
        Recipe.model_validate(
            {"version": 1, "name": "lite", "formats": ["tflite"], "passes": [{"tflite_float": {}}]}
        ),
    ],
    ids=lambda one: one.name,
)  # fmt: skip
def test_what_a_space_does_not_hold_is_refused(other: Recipe) -> None:
    with pytest.raises(ValueError, match="cannot be composed"):
        encode(small_space(), other)


def test_choices_without_any_pass_are_a_contradiction() -> None:
    space = Space(stages=(Stage("weights", ("prune",)),), values={})
    with pytest.raises(Contradiction):
        compose(space, {"weights": "none"})


def test_a_space_is_told_from_others_by_its_choices_and_prefix() -> None:
    plain = small_space()
    wider: dict[str, Any] = {**plain.values, "prune.amount": (0.3, 0.5, 0.7)}
    assert len({plain.digest, small_space(FLOAT).digest}) == 1
    assert Space(plain.stages, wider, plain.prefix).digest != plain.digest
    assert Space(plain.stages, plain.values).digest != plain.digest
