"""The thread that stores messages leaves the database to others now and then, however many messages come."""

import threading
import time
from collections.abc import Sequence
from typing import Any

import pytest

from controller.distribute.reconcile import RetainedState
from controller.fleet import inbox
from controller.fleet.ingest import Effects
from controller.mqtt import Received

MESSAGE = Received("thresher/topic", b"x", False)


class Storing:
    """Stands where the ingest is: every batch takes a moment, and none of them is told to anybody."""

    def __init__(self) -> None:
        self.batches = 0

    def batch(self, messages: Sequence[Received]) -> Effects:
        assert messages
        self.batches += 1
        time.sleep(0.001)
        return Effects()


def test_others_have_a_turn_while_messages_keep_coming(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox, "BREATHE_EVERY_S", 0.0)
    monkeypatch.setattr(inbox, "LARGEST_BATCH", 1)
    storing: Any = Storing()
    box = inbox.Inbox(storing, RetainedState(time.time), lambda _: None)
    breaths: list[float] = []

    class Stopping(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            breaths.append(timeout or 0.0)
            return False

    box._stopping = Stopping()
    for _ in range(5):
        box.put(MESSAGE)
    box.start()
    deadline = time.monotonic() + 10
    while storing.batches < 5 and time.monotonic() < deadline:
        time.sleep(0.005)
    box.stop()
    assert storing.batches == 5
    assert breaths == [inbox.BREATH_S] * 4  # the last one leaves an empty queue: everybody can write then
