"""What a class would take: by what its own devices measured alone."""

from typing import Any

from controller.compress.search.classes.picks import best_for, fronts_of, pick_of, seen_by
from controller.compress.search.study import ClassTime, Row
from tests.unit.controller.compress.search.spaces import point


def timed(name: str, wire: float = 0.5, **ratios: Any) -> Row:
    """Return a row that classes measured; a text in place of a ratio says who guessed 0.1."""
    times = {
        each: ClassTime(0.1, ratio) if isinstance(ratio, str) else ClassTime(ratio, "measured")  # type: ignore[arg-type]
        for each, ratio in ratios.items()
    }
    return point(name, 0.0, 0.7, wire, classes=times)


def test_each_class_takes_what_is_fastest_there() -> None:
    rows = [timed("a", one=0.3, two=0.9), timed("b", one=0.6, two=0.4)]
    found = [pick_of(rows, name) for name in ("one", "two")]
    assert [each and each.variant for each in found] == ["onnx-a", "onnx-b"]


def test_an_estimate_takes_nothing() -> None:
    rows = [timed("guessed", one="table"), timed("host", one="host"), timed("slower", one=1.2)]
    assert pick_of(rows, "one") is None
    assert [row.variant for row in seen_by(rows, "one")] == ["onnx-slower"]


def test_of_those_nearly_as_fast_the_smallest_is_taken() -> None:
    pick = pick_of([timed("fast", 0.9, one=0.300), timed("small", 0.2, one=0.309)], "one")
    assert pick is not None
    assert pick.variant == "onnx-small"


def test_picks_come_before_the_rest_of_the_fronts_with_their_own_rows() -> None:
    rows = [timed("small", 0.1, one=0.8, two=0.9), timed("a", one=0.3, two=0.9), timed("b", one=0.6, two=0.4)]
    found = fronts_of(rows, ("one", "two"))
    assert [row.variant for row in found] == ["onnx-a", "onnx-b", "onnx-small"]
    assert found[0] is rows[1]


def test_the_best_of_all_classes_is_the_one_that_is_fast_in_all() -> None:
    rows = [timed("a", one=0.1, two=1.0), timed("b", one=0.3, two=0.2)]
    best = best_for(("one", "two"))(rows)
    assert best is rows[1]
    assert best_for(("one",))([]) is None
