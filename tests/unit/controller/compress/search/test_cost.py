"""What training is allowed to cost, by what it cost before."""

from typing import Any

from controller.compress.search.cost import FIRST_MACS, STUDENT_SHARE, affordable, is_student, is_trained, work_of
from controller.compress.search.study import Row
from tests.unit.controller.compress.search.spaces import INT8, recipe, row

BATCH, MACS = 10, 10**6
MOST = int(FIRST_MACS / MACS / BATCH)
STUDENT = {"derive": {"width": 0.25}}


def distilled(steps: int) -> dict[str, Any]:
    return {"distill": {"steps": steps, "batch": BATCH}}


FIRST = recipe("first", {"simplify": {}}, distilled(MOST))
LONG = recipe("long", {"simplify": {}}, distilled(MOST + 1))


def known(seconds_a_sample: float, count: int = 3, *, student: bool = False, **fields: Any) -> list[Row]:
    wall_s, passes = seconds_a_sample * BATCH, [STUDENT] * student
    return [row(recipe(f"k{number}", *passes, distilled(1)), wall_s=wall_s, **fields) for number in range(count)]


def test_work_is_what_all_training_passes_see() -> None:
    both = recipe("b", distilled(3), {"quantize_static": {}}, {"quantize_aware": {"steps": 2, "batch": 4}})
    assert (work_of(both), work_of(INT8)) == (38, 0)
    assert (is_trained(both), is_trained(INT8)) == (True, False)
    assert (is_student(both), is_student(recipe("s", STUDENT, distilled(1)))) == (False, True)


def test_what_does_not_train_is_always_affordable() -> None:
    assert affordable(INT8, known(1e9), MACS, longest_s=1.0)


def test_the_first_that_train_are_short() -> None:
    assert affordable(FIRST, [], MACS, longest_s=1.0)
    assert not affordable(LONG, [], MACS, longest_s=1e9)
    longer = int(MOST / STUDENT_SHARE)
    assert affordable(recipe("s", STUDENT, distilled(longer)), [], MACS, longest_s=1.0)
    assert not affordable(recipe("s", STUDENT, distilled(longer + 1)), [], MACS, longest_s=1e9)


def test_later_ones_are_reckoned_from_those_before_and_half_as_much_again() -> None:
    longest_s = 1.5 * work_of(LONG)
    assert affordable(LONG, known(0.99), MACS, longest_s)
    assert not affordable(LONG, known(1.01), MACS, longest_s)
    assert not affordable(LONG, known(0.1, count=2), MACS, longest_s)  # two are too few to go by
    assert not affordable(LONG, known(0.1, cached=True), MACS, longest_s)  # what was kept says nothing of time
    assert not affordable(LONG, known(0.1, student=True), MACS, longest_s)  # nor do students of the whole network
