"""A pair's rounds in a session: how many, how they are told, and when the pair goes process by process after all."""

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from agent.errors import WorkerNotStarted
from agent.measure import session
from agent.measure.lock_step import rounds
from agent.measure.orders import MeasureOrder, Result, ResultError
from agent.measure.process import Answer, Canceled
from agent.measure.record import Measured
from agent.measure.session import Session
from tests.unit.agent.measure.lock_step.test_ratios import replicate
from tests.unit.agent.measure.test_queue import context, request
from wire.trial import Scenario

Orders = tuple[MeasureOrder, MeasureOrder]
Answers = tuple[Answer | None, Answer | None]
Play = Callable[[Orders], Answers]


class Pair:
    """Two variants in a session whose rounds are played by a function, and whose single processes are written down."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, play: Play, **fields: Any) -> None:
        scenario: Scenario = fields.pop("scenario", "single_stream")
        self.sides = [
            Measured(request(name, "a" * 64, grade="normal", scenario=scenario), folder, None) for name in "ab"
        ]
        self.said: list[tuple[str, Any]] = []
        self.orders: list[Orders] = []
        self.alone: list[str] = []
        heard = lambda event, told: self.said.append((event, told))  # noqa: E731  # a listener, and no more
        asked = context(interleaving="lock-step", progress=heard, **fields)

        def played(orders: Orders, _: Any) -> Answers:
            self.orders.append(orders)
            return play(orders)

        def worker(order: Any, *_: Any, **__: Any) -> Answer:
            self.alone.append(order.kind)
            return Answer(Result(outcome="ok", replicate=replicate([[100]]).model_copy(update={"conditions": {}})))

        monkeypatch.setattr(rounds, "play_round", played)
        monkeypatch.setattr(rounds, "START_AGAIN_S", 0.0)
        monkeypatch.setattr(session, "run_worker", worker)
        Session(asked, folder, threading.Event()).speeds(self.sides)

    @property
    def counts(self) -> list[int]:
        return [len(one.replicates) for one in self.sides]


def answers(orders: Orders, ratios: Sequence[float]) -> Answers:
    """Both sides' answers of a round, the second variant slower by the ratio of that round."""
    found = []
    for order in orders:
        turn = order.lock_step
        assert turn is not None
        time = 100_000 if order.order % 4 in (0, 3) else int(100_000 * ratios[turn.round])
        found.append(Answer(Result(outcome="ok", replicate=replicate([[time]] * 4, turn.round, turn.session))))
    return found[0], found[1]


def steady(orders: Orders) -> Answers:
    return answers(orders, [1.05, 1.051, 1.049, 1.05, 1.05])


def failing(code: str, at: int = 0, outcome: Any = "failed") -> Play:
    """Return a play in which the second of a round ends with an error in round `at`, counted from 0."""

    def play(orders: Orders) -> Answers:
        assert orders[0].lock_step is not None
        if orders[0].lock_step.round < at:
            return steady(orders)
        return None, Answer(Result(outcome=outcome, error=ResultError(code=code)))

    return play


def test_a_pair_takes_the_rounds_of_its_grade(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = Pair(tmp_path, monkeypatch, steady)
    assert pair.counts == [5, 5]
    assert pair.alone == []
    assert [one.interleaving for one in pair.sides] == ["lock-step", "lock-step"]
    turns = [order.lock_step for orders in pair.orders for order in orders if order.lock_step is not None]
    assert [turn.round for turn in turns] == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert len({turn.session for turn in turns}) == 1
    places = [order.order for orders in pair.orders for order in orders]
    assert places == list(range(10))
    firsts = [fields["trial"] for event, fields in pair.said if event == "replicate"][::2]
    assert firsts == ["a", "b", "a", "b", "a"]
    assert [orders[0].check_golden for orders in pair.orders] == [True] + [False] * 4
    assert {order.affinity for orders in pair.orders for order in orders} != {None}
    assert pair.orders[0][0].result_path.parent != pair.orders[0][1].result_path.parent


def test_rounds_that_disagree_are_followed_by_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Pair(tmp_path, monkeypatch, lambda orders: answers(orders, [0.9, 1.1] * 5)).counts == [10, 10]
    seven = [0.97, 1.03, 0.98, 1.01, 1.01, 1.0, 1.0]
    assert Pair(tmp_path, monkeypatch, lambda orders: answers(orders, seven)).counts == [7, 7]


@pytest.mark.parametrize(
    ("fields", "says"),
    [({"memory_cap_bytes": 2**26}, "the memory cap is 64 MiB"), ({"scenario": "paced"}, "the scenario paced")],
)
def test_what_cannot_be_in_lock_step_goes_process_by_process_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any], says: str
) -> None:
    pair = Pair(tmp_path, monkeypatch, steady, **fields)
    assert pair.orders == []
    assert pair.alone == ["measure"] * 10
    assert [one.interleaving for one in pair.sides] == ["processes", "processes"]
    assert all(says in one.not_in_lock_step for one in pair.sides)
    assert says in dict(pair.said)["not_in_lock_step"]["detail"]


def test_two_that_lack_memory_together_are_tried_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = Pair(tmp_path, monkeypatch, failing("out_of_memory"))
    assert len(pair.orders) == 1
    assert pair.alone == ["measure"] * 10
    assert [one.outcome for one in pair.sides] == ["measured", "measured"]
    assert "ran out of memory" in pair.sides[0].not_in_lock_step


def test_what_is_left_of_a_pair_whose_other_half_fails_at_once_is_measured_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = Pair(tmp_path, monkeypatch, failing("golden_mismatch", outcome="unfit"))
    assert [one.outcome for one in pair.sides] == ["measured", "unfit"]
    assert pair.counts == [5, 0]
    assert pair.alone == ["measure"] * 5


def test_a_crash_in_a_later_round_keeps_what_was_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = Pair(tmp_path, monkeypatch, failing("worker_crashed", at=3))
    assert sorted(one.outcome for one in pair.sides) == ["failed", "measured"]
    assert pair.counts == [3, 3]
    assert pair.alone == []
    assert [one.interleaving for one in pair.sides] == ["lock-step", "lock-step"]


@pytest.mark.parametrize(("failures", "alone"), [(rounds.STARTS - 1, 0), (1000, 10)])
def test_a_round_that_did_not_start_is_begun_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failures: int, alone: int
) -> None:
    left = [WorkerNotStarted("no room")] * failures

    def unlucky(orders: Orders) -> Answers:
        if left:
            raise left.pop()
        return steady(orders)

    pair = Pair(tmp_path, monkeypatch, unlucky)
    assert pair.counts == [5, 5]
    assert len(pair.alone) == alone


def test_one_that_is_cancelled_says_how_it_was_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def play(orders: Orders, _: Any) -> Answers:
        if orders[0].lock_step is not None and orders[0].lock_step.round == 2:
            raise Canceled
        return steady(orders)

    monkeypatch.setattr(rounds, "play_round", play)
    sides = [Measured(request(name, "a" * 64, grade="normal"), tmp_path, None) for name in "ab"]
    with pytest.raises(Canceled):
        Session(context(interleaving="lock-step"), tmp_path, threading.Event()).speeds(sides)
    assert [(one.interleaving, len(one.replicates)) for one in sides] == [("lock-step", 2)] * 2


def test_the_two_have_a_name_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rounds of another sitting are not theirs."""
    names = {Pair(tmp_path, monkeypatch, steady).orders[0][0].lock_step for _ in range(2)}
    assert len({name.session for name in names if name is not None}) == 2
