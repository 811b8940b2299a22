"""A serving worker that notes when it has a query whole, when its answer is made, and when that is written.

    started by `agent.child.spawn`: benchmarks.load.worker ORDER.json

It is the agent's own worker: the same order, launcher, commands and channel. Decides: where the stamps are taken.
Leaves out: everything else. Each answer carries the times of the query before it, so nothing else is said meanwhile.
"""

import struct
import time
from collections.abc import Mapping, Sequence
from typing import Any

from agent.serve import loop, worker
from agent.serve.channel import HEAD, Channel, Numbers, Times, encode_answers

BEFORE = struct.Struct("<qq")
"""Behind the answers: of the query before, last byte to answer, and to the end of its writing [ns]."""


class TimedChannel(Channel):
    """Stamps a query's last byte, its answer, and the end of the answer's writing."""

    _received_ns = 0
    _before = (0, 0)

    def receive(self) -> tuple[Mapping[str, Any], memoryview] | None:
        """Return the next frame, and stamp it."""
        found = super().receive()
        self._received_ns = time.perf_counter_ns()
        return found

    def send_answers(self, answers: Sequence[Numbers], times_ns: Times) -> None:
        """Send the answers, with the times of the query before."""
        frame = encode_answers(answers, times_ns)
        made_ns = time.perf_counter_ns()
        whole = HEAD.pack(0, len(frame) - HEAD.size + BEFORE.size) + frame[HEAD.size :] + BEFORE.pack(*self._before)
        written_ns = time.perf_counter_ns()
        self._socket.sendall(whole)
        self._before = (
            made_ns - self._received_ns,
            made_ns - self._received_ns + time.perf_counter_ns() - written_ns,
        )


def main(arguments: list[str]) -> int:
    """Serve as the agent's worker does; return its exit code."""
    vars(loop)["Channel"] = TimedChannel
    return worker.main(arguments)
