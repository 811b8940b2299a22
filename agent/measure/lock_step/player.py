"""A worker that takes turns: what it is told, and what becomes of a round in which one of the two ends.

Decides: that the second process is started once the first is warm, so that neither is disturbed while it loads; that
one that crashes, hangs or refuses ends the round for both. Leaves out: the order of turns (`turns.py`), and how a
worker is started and what its end means (`agent/measure/process.py`).
"""

import contextlib
import queue
import threading
from collections.abc import Mapping
from typing import Any, NamedTuple

from agent.config import WorkersConfig
from agent.measure.lock_step.turns import END, GO, READY, TURN_OVER, Said, alternate
from agent.measure.orders import BaseOrder
from agent.measure.process import CANCEL_POLL_S, Answer, Canceled, Deadline, Running, started_worker

Line = Mapping[str, Any]


class Terms(NamedTuple):
    """Under which terms a round is played.

    `move_s`: how long loading and warming up may take, and each turn, and leaving the result: each of them is a move
    of one side, and the other only waits. `cancel` ends the round. `workers`: what holds the processes besides.
    """

    move_s: float
    cancel: threading.Event
    workers: WorkersConfig | None = None


class SideEnded(Exception):
    """A side ended, or had its time: the round is over. Carries what came of it."""

    def __init__(self, side: "Player", answer: Answer) -> None:
        super().__init__(answer)
        self.side = side
        self.answer = answer


class Player:
    """A worker of a round; `ready` and `turn` raise `SideEnded` where it does not come back from a move."""

    def __init__(self, running: Running, lines: "queue.SimpleQueue[Line]", terms: Terms) -> None:
        self._running, self._lines, self._terms = running, lines, terms

    def ready(self) -> None:
        """Wait until it has loaded and is warm."""
        self._hear(READY)

    def turn(self) -> Said:
        """Let it take a turn."""
        self._say(GO)
        line = self._hear(TURN_OVER)
        return Said(bool(line["enough"]), bool(line["full"]))

    def finish(self) -> Answer:
        """Let it leave its result, and return that."""
        self._say(END)
        ended = self._running.ends(Deadline(self._terms.move_s), self._terms.cancel)
        return self._running.answer(self._terms.move_s, ended)

    def _say(self, word: str) -> None:
        pipe = self._running.child.process.stdin
        assert pipe is not None, "a measuring worker's stdin is a pipe"
        with contextlib.suppress(BrokenPipeError):  # it has ended, which is noticed as its answer is waited for
            pipe.write(f"{word}\n".encode())
            pipe.flush()

    def _hear(self, event: str) -> Line:
        deadline = Deadline(self._terms.move_s)
        while True:
            if self._terms.cancel.is_set():
                raise Canceled
            ended = not self._running.child.running
            try:
                line = self._lines.get(timeout=CANCEL_POLL_S)
            except queue.Empty:
                if ended or deadline.is_over:
                    raise SideEnded(self, self._running.answer(self._terms.move_s, ended)) from None
                continue
            deadline.heard(line)
            if line.get("event") == event:
                return line


def play_round(orders: tuple[BaseOrder, BaseOrder], terms: Terms) -> tuple[Answer | None, Answer | None]:
    """Carry both orders out in turns; return what came of either, where it is known.

    Args:
        orders: Of the two sides, the one that begins first. Their `result_path` lie in folders of their own.
        terms: How long, and what ends it.
    Returns:
        Both answers; or that of the side that ended, and null for the other, whose samples are half of nothing.
    Raises:
        Canceled: `terms.cancel` was set.
        WorkerNotStarted, OSError: A process did not begin: no fault of its bundle, worth another try.
    """
    with contextlib.ExitStack() as stack:
        players: list[Player] = []
        try:
            for order in orders:
                players.append(_started(order, terms, stack))
                players[-1].ready()
            first, second = players
            alternate(first, second)
            one, other = first.finish(), second.finish()
        except SideEnded as exc:
            return (exc.answer, None) if exc.side is players[0] else (None, exc.answer)
    if {one.result.outcome, other.result.outcome} == {"ok"}:
        return one, other
    return (one, None) if one.result.outcome != "ok" else (None, other)


def _started(order: BaseOrder, terms: Terms, stack: contextlib.ExitStack) -> Player:
    lines: queue.SimpleQueue[Line] = queue.SimpleQueue()
    return Player(stack.enter_context(started_worker(order, lines.put, terms.workers)), lines, terms)
