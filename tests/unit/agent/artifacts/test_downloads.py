"""Downloads: whoever waits for an artifact to be put together gets an answer, whatever happens in the thread."""

import logging
import threading
from pathlib import Path
from typing import Any

import pytest

from agent.artifacts import downloads as downloads_module
from agent.artifacts.assemble import Assembled
from agent.artifacts.downloads import Downloads
from agent.artifacts.store import ArtifactStore
from agent.loop import Loop
from tests.unit.agent.artifacts.artifact_kit import Fetching, MemoryChannel, cut
from wire.update import ReportedError

SOURCE = cut()
ANSWER_WITHIN_S = 10.0


class Waiting:
    """Somebody who asked for an artifact that is fetched already, and the loop that brings the answer."""

    def __init__(self, store: ArtifactStore) -> None:
        self.loop = Loop()
        self.answers: list[Assembled | ReportedError] = []
        channel = MemoryChannel(SOURCE)
        fetching = Fetching(store.incoming(SOURCE.ref.digest), channel)
        fetching.begin()
        fetching.run()
        self.downloads = Downloads("barn-1", store, channel, self.loop, lambda *_: None)

    def answer(self) -> Assembled | ReportedError | None:
        """Ask, and wait; null where nothing came."""
        self.answers.clear()
        self.downloads.assemble(SOURCE.ref, self._take)
        self.loop.after(ANSWER_WITHIN_S, self.loop.stop)
        self.loop.run()
        return self.answers[0] if self.answers else None

    def _take(self, answer: Assembled | ReportedError) -> None:
        self.answers.append(answer)
        self.loop.stop()


@pytest.fixture
def waiting(tmp_path: Path) -> Waiting:
    return Waiting(ArtifactStore(tmp_path / "state"))


def test_a_defect_in_the_thread_is_answered_logged_and_worth_another_try(
    waiting: Waiting, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def defect(*_: Any) -> Assembled:
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    with monkeypatch.context() as patched, caplog.at_level(logging.ERROR):
        patched.setattr(downloads_module, "assemble", defect)
        answer = waiting.answer()
    assert isinstance(answer, ReportedError)
    assert (answer.code, answer.error_class) == ("agent_error", "retryable")
    assert "ZeroDivisionError('a defect')" in answer.detail
    assert "a defect" in caplog.text
    assert waiting.downloads.digests == frozenset()
    # Nothing was thrown away: the next try has all chunks, and succeeds.
    assert isinstance(waiting.answer(), Assembled)
