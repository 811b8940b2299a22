"""When metrics are told: at a steady pace, soon after a change that somebody waits to judge, hardly while it measures.

Decides: the moments. Leaves out: what is told. A rollout watches a new bundle for a minute or so: with one message a
minute its gates would rule on what the bundle did before.

    pulse = MetricsPulse(loop, 60.0, say); pulse.start(); pulse.quicken()
"""

import time
from collections.abc import Callable

from agent.loop import Loop, Timer

SOON_S = 15.0
"""From a change to the second message; the first comes at once."""

Say = Callable[[float, float], None]


class MetricsPulse:
    """Calls `say(interval_s, next_s)`: what the metrics cover, and when the next ones follow."""

    def __init__(
        self, loop: Loop, interval_s: float, say: Say, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._loop = loop
        self._interval_s = interval_s
        self._say = say
        self._monotonic = monotonic
        self._said_at = monotonic()
        self._usual_s = interval_s
        self._timer: Timer | None = None

    def start(self) -> None:
        """Begin: the first metrics come after one interval."""
        self._said_at = self._monotonic()
        self._next(self._interval_s)

    def quicken(self) -> None:
        """Tell at once, again soon, then go on as before."""
        self._beat(min(SOON_S, self._interval_s))

    def hush(self, interval_s: float | None) -> None:
        """Tell at once, then only once in `interval_s`, while publishing would disturb what is timed here; the message
        says so, and silence is no alarm. Null: go on at the usual pace, at once."""
        wanted_s = self._usual_s if interval_s is None else max(interval_s, self._usual_s)
        if wanted_s != self._interval_s:
            self._interval_s = wanted_s
            self._beat(wanted_s)

    def _beat(self, next_s: float) -> None:
        now = self._monotonic()
        covered_s, self._said_at = max(now - self._said_at, 0.001), now
        self._next(next_s)
        self._say(covered_s, next_s)

    def _next(self, next_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.after(next_s, lambda: self._beat(self._interval_s))
