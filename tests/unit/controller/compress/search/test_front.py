"""The front, its knee, what would be taken, and which members are looked at again."""

from hypothesis import given
from hypothesis import strategies as st

from controller.compress.search.front import best_of, costs, front_of, knee_of, most_of
from controller.compress.search.study import Row
from tests.unit.controller.compress.search.spaces import point

TRUE = point("true", 0.000, 0.9, 0.9)
FAST = point("fast", 0.010, 0.20, 0.5)
SMALL = point("small", 0.010, 0.205, 0.1)
MIDDLE = point("middle", 0.002, 0.3, 0.2)
WORSE = point("worse", 0.011, 0.21, 0.5)


def test_what_another_beats_in_everything_is_not_on_the_front() -> None:
    assert [row.variant for row in front_of([TRUE, WORSE, FAST, SMALL, MIDDLE])] == [
        "onnx-fast", "onnx-small", "onnx-middle", "onnx-true",
    ]  # fmt: skip


def test_only_what_was_timed_and_keeps_the_limit_counts() -> None:
    over = point("over", 0.5, 0.01, 0.01, outcome="over_limit")
    assert front_of([over, FAST]) == [FAST]
    assert front_of([over]) == []
    assert (best_of([over]), knee_of([over])) == (None, None)


def test_of_equal_ones_the_first_is_kept() -> None:
    twin = point("twin", FAST.loss or 0.0, FAST.ratio or 0.0, FAST.wire_ratio or 0.0)
    assert front_of([FAST, twin]) == [FAST]


def test_the_best_is_the_fastest_and_of_those_nearly_as_fast_the_smallest() -> None:
    assert best_of([TRUE, FAST, SMALL, MIDDLE]) == SMALL
    assert best_of([TRUE, FAST, MIDDLE]) == FAST


def test_the_knee_lies_between_the_ends() -> None:
    assert knee_of([TRUE, FAST, SMALL, MIDDLE]) == MIDDLE


rows = st.lists(
    st.tuples(*[st.integers(1, 5)] * 3), min_size=1, max_size=12
).map(lambda found: [point(f"v{place}", a / 100, b / 5, c / 5) for place, (a, b, c) in enumerate(found)])  # fmt: skip


@given(rows, st.integers(1, 5))
def test_most_of_a_front_keeps_the_best_first(given_rows: list[Row], most: int) -> None:
    front = front_of(given_rows)
    chosen = most_of(front, most)
    assert len(chosen) == min(most, len(front))
    assert best_of(given_rows) in chosen
    if most > 1:
        assert min(costs(row)[2] for row in chosen) == min(costs(row)[2] for row in front)
    assert all(not any(a != b and all(x <= y for x, y in zip(a, b, strict=True)) for a in map(costs, given_rows))
               for b in map(costs, front))  # fmt: skip
