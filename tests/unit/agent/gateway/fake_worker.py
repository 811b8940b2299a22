"""A worker's end of a channel, played by a thread: it answers what the test says, when the test says."""

import socket
import threading
from collections.abc import Callable, Mapping
from typing import Any

from agent.serve.channel import Channel

Replying = Callable[[Mapping[str, Any], bytes], dict[str, Any] | None]


def echo(_header: Mapping[str, Any], payload: bytes) -> dict[str, Any]:
    """Answer with the payload's text as the label."""
    return {"answers": [{"classes": [0], "labels": [payload.decode()], "values": [0.9]}], "ns": [1, 2, 3]}


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
            self.seen.append(payload.decode(errors="replace"))
            self.let.acquire()
            reply = self._replying(header, payload)
            if reply is None:
                break
            self._channel.send({"id": header.get("id"), **reply})
        self._channel.close()
