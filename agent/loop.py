"""The one consumer thread: calls that other threads post, and timers, one after the other.

Decides: order (calls as they were posted, timers when they are due). Leaves out: what is done. Everything that the
control process knows is read and changed by this thread alone, so nothing in it needs a lock.

>>> loop = Loop(); loop.post(loop.stop); loop.run()
"""

import heapq
import itertools
import logging
import queue
import time
from collections.abc import Callable

log = logging.getLogger(__name__)

Call = Callable[[], None]
LONGEST_SLEEP_S = 3600.0


class Timer:
    """A call in the future. `cancel` may be called at any time from the consumer thread."""

    def __init__(self, call: Call) -> None:
        self._call: Call | None = call

    def cancel(self) -> None:
        self._call = None

    @property
    def waiting(self) -> bool:
        """Whether the call is still to come."""
        return self._call is not None

    def fire(self) -> None:
        """Make the call, once, unless it was cancelled."""
        call, self._call = self._call, None
        if call is not None:
            call()


class Loop:
    """A queue of calls and a heap of timers. `post` is safe from any thread and from a signal's function."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._posted: queue.SimpleQueue[Call] = queue.SimpleQueue()
        self._timers: list[tuple[float, int, Timer]] = []
        self._numbers = itertools.count()
        self._running = True

    def post(self, call: Call) -> None:
        """Have the consumer thread make `call`."""
        self._posted.put(call)

    def after(self, delay_s: float, call: Call) -> Timer:
        """Have the consumer thread make `call` in `delay_s` seconds; only from the consumer thread."""
        timer = Timer(call)
        heapq.heappush(self._timers, (self._clock() + delay_s, next(self._numbers), timer))
        return timer

    def stop(self) -> None:
        """End `run` after the call that is being made; safe from anywhere."""
        self._posted.put(self._end)

    def run(self) -> None:
        """Make calls until `stop`. A call that raises is logged and ends neither the loop nor the serving."""
        self._running = True
        while self._running:
            self._make(self._next())

    def run_for(self, seconds: float) -> None:
        """Make calls for `seconds`: how a stop waits for what it has asked for."""
        self.after(seconds, self._end)
        self.run()

    def _next(self) -> Call | None:
        while self._timers and not self._timers[0][2].waiting:
            heapq.heappop(self._timers)
        delay_s = self._timers[0][0] - self._clock() if self._timers else LONGEST_SLEEP_S
        if delay_s <= 0:
            return heapq.heappop(self._timers)[2].fire
        try:
            return self._posted.get(timeout=min(delay_s, LONGEST_SLEEP_S))
        except queue.Empty:
            return None

    def _make(self, call: Call | None) -> None:
        try:
            if call is not None:
                call()
        except Exception:
            log.exception("a call of the consumer thread failed; the agent goes on")

    def _end(self) -> None:
        self._running = False
