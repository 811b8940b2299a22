"""The agent's loop with sockets: calls, timers and many connections in turn, on one thread.

Decides: that no kind of work starves another. Leaves out: what sockets carry (`link.py`).
"""

import heapq
import logging
import queue
import selectors
import socket
import time
from collections.abc import Callable

from agent.loop import Call, Loop

log = logging.getLogger(__name__)

LONGEST_WAIT_S = 0.2
"""A signal's function posts from this thread, which no socket shows."""
LOOK_EVERY_S = 0.01
"""Sockets are looked at as often while calls wait."""

Ready = Callable[[int], None]


class EpollLoop(Loop):
    """A `Loop` that waits for sockets. All methods but `post` and `stop` belong to its thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(clock)
        self._selector = selectors.DefaultSelector()
        self._looked_s = clock()
        self._timer_was_last = False

    def now(self) -> float:
        """Return the time by which timers go [s]."""
        return self._clock()

    def watch(self, sock: socket.socket, events: int, ready: Ready) -> None:
        """Have `ready(events)` called when `sock` can be read or written, as `selectors` names it."""
        if sock.fileno() in self._selector.get_map():
            self._selector.modify(sock, events, ready)
        else:
            self._selector.register(sock, events, ready)

    def unwatch(self, sock: socket.socket) -> None:
        """Look at it no more; call it before the socket is closed."""
        if sock.fileno() in self._selector.get_map():
            self._selector.unregister(sock)

    def close(self) -> None:
        """Give the selector back; the loop is not used again."""
        self._selector.close()

    def _next(self) -> Call | None:
        now_s = self._clock()
        if now_s - self._looked_s >= LOOK_EVERY_S:
            self._look(0.0)
            return None
        while self._timers and not self._timers[0][2].waiting:
            heapq.heappop(self._timers)
        wait_s = self._timers[0][0] - now_s if self._timers else LONGEST_WAIT_S
        if wait_s <= 0 and not (self._timer_was_last and self._posted.qsize()):
            self._timer_was_last = True
            return heapq.heappop(self._timers)[2].fire
        self._timer_was_last = False
        try:
            return self._posted.get_nowait()
        except queue.Empty:
            self._look(wait_s)
            return None

    def _look(self, wait_s: float) -> None:
        for key, events in self._selector.select(max(0.0, min(wait_s, LONGEST_WAIT_S))):
            try:
                key.data(events)
            except Exception:
                log.exception("a socket's turn failed; the others go on")
        self._looked_s = self._clock()
