"""Whose turn it is: with sides that only write down when they are asked."""

import pytest

from agent.measure.lock_step.turns import Said, alternate


class Scripted:
    """A side that has enough after so many turns, and is full after so many."""

    def __init__(self, name: str, log: list[str], enough: int, full: int = 1000, fails_at: int = 1000) -> None:
        self.name, self.log, self.turns = name, log, 0
        self.enough, self.full, self.fails_at = enough, full, fails_at

    def turn(self) -> Said:
        if self.turns == self.fails_at:
            raise RuntimeError(f"{self.name} ended")
        self.turns += 1
        self.log.append(self.name)
        return Said(self.turns >= self.enough, self.turns >= self.full)


def played(a: dict[str, int], b: dict[str, int]) -> str:
    log: list[str] = []
    alternate(Scripted("A", log, **a), Scripted("B", log, **b))
    return "".join(log)


@pytest.mark.parametrize(
    ("a", "b", "turns"),
    [
        ({"enough": 1}, {"enough": 1}, "ABBA"),
        ({"enough": 2}, {"enough": 2}, "ABBA"),
        ({"enough": 3}, {"enough": 1}, "ABBAABBA"),  # whole fours, and the slower side decides
        ({"enough": 1}, {"enough": 5}, "ABBAABBAABBA"),
        ({"enough": 100}, {"enough": 100, "full": 2}, "ABBA"),  # one that takes no more ends it for both
    ],
)
def test_turns_go_there_and_back_in_whole_fours(a: dict[str, int], b: dict[str, int], turns: str) -> None:
    assert played(a, b) == turns


def test_both_sides_have_the_same_mean_place() -> None:
    turns = played({"enough": 7}, {"enough": 8})
    places = {name: [at for at, who in enumerate(turns) if who == name] for name in "AB"}
    assert len(places["A"]) == len(places["B"]) == 8
    assert sum(places["A"]) == sum(places["B"])


def test_a_side_that_ends_ends_it_for_both() -> None:
    log: list[str] = []
    with pytest.raises(RuntimeError, match="B ended"):
        alternate(Scripted("A", log, 9), Scripted("B", log, 9, fails_at=2))
    assert "".join(log) == "ABBAA"
