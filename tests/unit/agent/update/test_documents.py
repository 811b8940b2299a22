"""The queue of documents whose signatures are being checked. The check itself is a stand-in."""

from collections.abc import Callable
from typing import Any

import pytest

from agent.loop import Loop
from agent.update import documents as documents_module
from agent.update.documents import MOST_WAITING, Documents
from wire.errors import BadSignature, MalformedMessage

Read = Callable[[], Any]


class Stage:
    """Threads are calls that the test makes; time is the test's."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s = 0.0
        self.loop = Loop(lambda: self.now_s)
        self.checks: list[Callable[[], None]] = []
        self.heard: list[Any] = []
        self.documents = Documents(self.loop)
        monkeypatch.setattr("threading.Thread", self._thread)

    def _thread(self, target: Callable[..., None], args: tuple[Any, ...], **_: Any) -> "Stage":
        self.checks.append(lambda: target(*args))
        return self

    def start(self) -> None:
        """A thread begins when the test makes its call."""

    def add(self, read: Read) -> bool:
        return self.documents.add(read, self.heard.append)

    def check(self) -> None:
        """Let the check that is under way end."""
        self.checks.pop(0)()
        self.turn()

    def turn(self, seconds: float = 0.0) -> None:
        self.now_s += seconds
        for _ in range(3):
            self.loop.post(self.loop.stop)
            self.loop.run()


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    return Stage(monkeypatch)


def fails(error: Exception) -> Read:
    def read() -> Any:
        raise error

    return read


def test_answers_come_in_the_order_of_the_documents_one_check_at_a_time(stage: Stage) -> None:
    forged = BadSignature("no")
    for read in (lambda: "first", fails(forged), lambda: "third"):
        assert stage.add(read)
        assert len(stage.checks) == 1
    for _ in range(3):
        stage.check()
    assert stage.heard == ["first", forged, "third"]
    assert stage.checks == []


def test_a_check_that_could_not_be_made_is_made_again_and_keeps_its_place(stage: Stage) -> None:
    reads: list[Read] = [fails(OSError("no room for a process")), lambda: "first"]
    stage.add(lambda: reads.pop(0)())
    stage.add(lambda: "second")
    stage.check()
    assert (stage.heard, stage.checks) == ([], [])
    stage.turn(documents_module.AGAIN_S + 0.1)
    stage.check()
    stage.check()
    assert stage.heard == ["first", "second"]


def test_a_flood_is_refused_and_what_came_first_is_read(stage: Stage) -> None:
    taken = [stage.add(lambda number=number: number) for number in range(MOST_WAITING + 5)]  # type: ignore[misc]
    assert taken == [True] * MOST_WAITING + [False] * 5
    while stage.checks:
        stage.check()
    assert stage.heard == list(range(MOST_WAITING))
    assert stage.add(lambda: "later")


def test_a_fault_of_ours_refuses_the_document_and_the_next_one_is_read(stage: Stage) -> None:
    stage.add(fails(RecursionError("deep")))
    stage.add(lambda: "second")
    stage.check()
    stage.check()
    assert isinstance(stage.heard[0], MalformedMessage)
    assert stage.heard[1] == "second"
