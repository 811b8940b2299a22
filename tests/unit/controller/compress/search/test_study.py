"""The study: recipes to begin with first, nothing twice, and nothing forgotten when its process is killed."""

from pathlib import Path

import pytest

from controller.compress.recipe import Recipe
from controller.compress.search.genome import Space, key_of
from controller.compress.search.study import Asked, Row, Study, name_of, written
from tests.unit.controller.compress.search.spaces import FLOAT, HALF, INT8, row, small_space

LIMIT = 0.01


def told(study: Study, asked: Asked | None, **fields: object) -> Asked:
    assert asked is not None
    study.tell(asked, row(asked.recipe, **fields), LIMIT)
    return asked


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "study.log"


def test_recipes_to_begin_with_come_first_and_nothing_comes_twice(path: Path) -> None:
    space = small_space(HALF, INT8)
    study = Study.open(path, space, seed=0)
    asked = [told(study, study.ask()) for _ in range(12)]
    assert [one.recipe.name for one in asked[:2]] == ["float16", "int8"]
    assert [one.seed for one in asked[:3]] == [True, True, False]
    assert len({one.key for one in asked}) == 12


def test_a_space_that_is_used_up_says_so(path: Path) -> None:
    plain = small_space()
    tiny = Space(plain.stages[1:], {"quantize_static.scheme": ("u8s8", "u8u8")}, plain.prefix)
    study, found = Study.open(path, tiny, seed=0), set[str]()
    while (asked := study.ask()) is not None:
        found.add(told(study, asked).key)
    assert len(found) == 4  # simplified alone, half precision, and two schemes


def test_what_was_under_way_when_its_process_died_comes_again(path: Path) -> None:
    space = small_space(HALF)
    first = Study.open(path, space, seed=0)
    told(first, first.ask())
    lost = first.ask()
    assert lost is not None
    again = Study.open(path, space, seed=0)
    assert [one.variant for one in again.rows.values()] == ["onnx-float16"]
    found = again.ask()
    assert found is not None
    assert found.recipe == lost.recipe


def test_what_the_end_cut_off_is_tried_again_and_is_no_row(path: Path) -> None:
    study = Study.open(path, small_space(HALF, INT8), seed=0)
    cut = told(study, study.ask(), outcome="cut_off")
    assert study.tried == 0
    assert [told(study, study.ask()).key for _ in range(2)] == [key_of(INT8), cut.key]


def test_a_line_that_was_cut_short_costs_that_line_alone(path: Path) -> None:
    study = Study.open(path, small_space(HALF, INT8), seed=0)
    told(study, study.ask())
    with path.open("ab") as file:
        file.write(b'{"op_code": 5, "tri')
    again = Study.open(path, small_space(HALF, INT8), seed=0)
    assert again.tried == 1
    assert told(again, again.ask()).recipe == INT8
    assert Study.open(path, small_space(HALF, INT8), seed=0).tried == 2


def test_rows_come_back_as_they_were(path: Path) -> None:
    study = Study.open(path, small_space(HALF), seed=0)
    asked = study.ask()
    assert asked is not None
    kept = Row(name_of(HALF), asked.key, written(HALF), "over_limit", "too much", True, lineage=("a", "b"), loss=0.5,
               wire_ratio=0.5, notes=("n",))  # fmt: skip
    study.tell(asked, kept, LIMIT)
    assert list(Study.open(path, small_space(HALF), seed=0).rows.values()) == [kept]
    assert kept.as_recipe() == HALF


@pytest.mark.parametrize(("longest_s", "again"), [(60.0, False), (61.0, True)])
def test_what_took_too_long_is_tried_again_when_it_may_take_longer(path: Path, longest_s: float, again: bool) -> None:
    space = small_space(HALF, INT8)
    study = Study.open(path, space, 0, 60.0)
    told(study, study.ask(), outcome="too_long", wall_s=60.0, loss=None)
    later = Study.open(path, space, 0, longest_s)
    assert told(later, later.ask()).recipe == INT8
    assert (told(later, later.ask()).recipe == HALF) is again


def test_what_does_not_fit_is_passed_over_and_a_recipe_to_begin_with_waits_until_it_does(path: Path) -> None:
    space = small_space(HALF, INT8)
    study = Study.open(path, space, seed=0)

    def no_half(recipe: Recipe) -> bool:
        return "float16" not in recipe.pass_names

    asked = [told(study, study.ask(no_half)).recipe for _ in range(5)]
    assert asked[0] == INT8
    assert all(no_half(recipe) for recipe in asked)
    assert told(study, study.ask()).recipe == HALF


def test_a_recipe_to_begin_with_that_never_fitted_comes_first_in_the_next_run(path: Path) -> None:
    study = Study.open(path, small_space(HALF, INT8), seed=0)
    told(study, study.ask(lambda recipe: recipe == INT8))
    later = Study.open(path, small_space(HALF, INT8), seed=0)
    assert told(later, later.ask()).recipe == HALF


def test_what_keeps_the_limit_breeds_and_what_does_not_dies_out(path: Path) -> None:
    """Of candidates whose loss is that of their scheme alone, later ones have the scheme that keeps the limit."""
    plain = small_space()
    space = Space(plain.stages, {**plain.values, "prune.amount": tuple(n / 100 for n in range(1, 60))}, plain.prefix)
    study, good = Study.open(path, space, seed=1), list[bool]()
    for _ in range(80):
        asked = study.ask()
        assert asked is not None
        keeps = "float16" in asked.recipe.pass_names
        told(study, asked, loss=0.0 if keeps else 0.5, outcome="timed" if keeps else "over_limit")
        good.append(keeps)
    assert sum(good[-30:]) > sum(good[:30]) * 1.4


def test_the_same_seed_asks_for_the_same(tmp_path: Path) -> None:
    studies = [Study.open(tmp_path / str(number), small_space(FLOAT), seed) for number, seed in enumerate((4, 4, 5))]
    asked = [[told(study, study.ask()).key for _ in range(10)] for study in studies]
    assert asked[0] == asked[1] != asked[2]
