"""A worker's end of a channel, played by a thread: it answers what the test says, when the test says."""

import socket
import threading
from collections.abc import Callable, Mapping
from typing import Any

from agent.serve.channel import Channel, Numbers

TEXTS = [*(str(number) for number in range(60)), "early", "first", "second", "after", "asked", "waiting", "last", "x"]
"""What tests may ask; the labels of the bundle that is played."""

DESCRIBED = {"pipeline": {"post": {"labels": TEXTS}}}
Replying = Callable[[Mapping[str, Any], bytes], Numbers | None]


def echo(_header: Mapping[str, Any], payload: bytes) -> Numbers:
    """Answer with the payload's text as the label."""
    return Numbers([TEXTS.index(payload.decode())], [0.9])


class FakeWorker:
    """Answers each query by `replying`; None ends it without an answer, as a crash would."""

    def __init__(self, replying: Replying = echo) -> None:
        self.end, theirs = socket.socketpair()
        self.seen: list[str] = []
        self.let = threading.Semaphore(1_000_000)
        self._replying = replying
        self._channel = Channel(theirs)
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def hold(self) -> None:
        """Answer nothing until `release`."""
        self.let = threading.Semaphore(0)

    def release(self, answers: int = 1_000_000) -> None:
        self.let.release(answers)

    def _serve(self) -> None:
        while (frame := self._channel.receive()) is not None:
            header, payload = frame
            content = bytes(payload)
            self.seen.append(content.decode(errors="replace"))
            self.let.acquire()
            answer = self._replying(header, content)
            if answer is None:
                break
            self._channel.send_answers([answer], (1, 2, 3))
        self._channel.close()
