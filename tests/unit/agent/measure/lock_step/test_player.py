"""A round between two processes: who may run when, and what is left where one of them ends."""

import threading
from pathlib import Path

import pytest

from agent.config import WorkersConfig
from agent.errors import WorkerNotStarted
from agent.measure import process
from agent.measure.lock_step import player
from agent.measure.lock_step.player import Player, Terms, play_round
from agent.measure.orders import MeasureOrder
from agent.measure.process import Answer, Canceled, Deadline

NOT_CONFINED = WorkersConfig(sandbox="off")
"""Both write into one log."""


@pytest.fixture(autouse=True)
def _turning_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "MODULE", "tests.unit.agent.measure.lock_step.turning_worker")


def order(folder: Path, side: str, what: str) -> MeasureOrder:
    (folder / side).mkdir(exist_ok=True)
    return MeasureOrder(bundle_dir=folder, result_path=folder / side / "result.json", cache_dir=Path(what))


def play(
    folder: Path, first: str, second: str, cancel: threading.Event | None = None
) -> tuple[Answer | None, Answer | None]:
    orders = order(folder, "A", first), order(folder, "B", second)
    return play_round(orders, Terms(60.0, cancel or threading.Event(), NOT_CONFINED))


def log(folder: Path) -> str:
    path = folder / "log"
    return path.read_text() if path.exists() else ""


def test_two_processes_take_turns_and_both_leave_a_result(tmp_path: Path) -> None:
    one, other = play(tmp_path, "one", "other")
    assert log(tmp_path) == "ABBAABBA"
    assert one is not None
    assert other is not None
    assert (one.result.engine, other.result.engine) == ("one", "other")


@pytest.mark.parametrize(
    ("what", "code"), [("crash", "worker_crashed"), ("unfit", "golden_mismatch"), ("ends badly", "worker_crashed")]
)
@pytest.mark.parametrize("place", [0, 1])
def test_one_that_ends_ends_the_round_for_both(tmp_path: Path, what: str, code: str, place: int) -> None:
    first, second = (what, "fine") if place == 0 else ("fine", what)
    answers = play(tmp_path, first, second)
    answer = answers[place]
    assert answer is not None
    assert answer.result.error is not None
    assert answer.result.error.code == code
    assert answers[1 - place] is None


def test_one_that_hangs_has_its_time_and_the_other_only_waited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class UntilItHangs(Deadline):
        @property
        def is_over(self) -> bool:
            return log(tmp_path) == "ABB"

    monkeypatch.setattr(player, "Deadline", UntilItHangs)
    one, other = play(tmp_path, "fine", "hang")
    assert one is None
    assert other is not None
    assert other.result.error is not None
    assert other.result.error.code == "worker_timed_out"
    assert log(tmp_path) == "ABB"


def test_a_process_that_did_not_begin_is_no_result(tmp_path: Path) -> None:
    with pytest.raises(WorkerNotStarted):
        play(tmp_path, "fine", "does not start")
    assert log(tmp_path) == ""


def test_cancelling_ends_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cancel = threading.Event()

    def canceled_between_turns(first: Player, _: Player) -> None:
        cancel.set()
        first.turn()

    monkeypatch.setattr(player, "alternate", canceled_between_turns)
    with pytest.raises(Canceled):
        play(tmp_path, "fine", "fine", cancel=cancel)
