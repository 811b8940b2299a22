"""Send trial records until they are acknowledged: at once, again when the broker is back, and ever rarer in between."""

from collections.abc import Callable, Collection

from agent.loop import Loop, Timer
from agent.plan.outbox import Outbox
from wire.trial import TrialPart

FIRST_WAIT_S = 10.0
LONGEST_WAIT_S = 300.0


class Sender:
    """Empties the outbox. All methods belong to the consumer thread; `send` tells whether the broker took a part."""

    def __init__(self, outbox: Outbox, loop: Loop, send: Callable[[TrialPart], bool]) -> None:
        self._outbox = outbox
        self._loop = loop
        self._send = send
        self._wait_s = FIRST_WAIT_S
        self._timer: Timer | None = None

    def send(self, trial: str) -> None:
        """Send one record now, and all that wait again later."""
        self._send_parts(trial)
        self._wait_s = FIRST_WAIT_S
        self._schedule()

    def send_all(self) -> None:
        """Send every record that waits: the broker is back, or nobody answered for a while."""
        self._wait_s = FIRST_WAIT_S
        self._again()

    def acknowledged(self, trials: Collection[str]) -> list[str]:
        """Forget records; return those that were waiting."""
        return self._outbox.remove(trials)

    def _again(self) -> None:
        for trial in self._outbox.trials():
            if not self._send_parts(trial):
                break
        self._schedule()

    def _unanswered(self) -> None:
        self._wait_s = min(LONGEST_WAIT_S, self._wait_s * 2)
        self._again()

    def _send_parts(self, trial: str) -> bool:
        return all(self._send(part) for part in self._outbox.parts(trial))

    def _schedule(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._outbox.trials():
            self._timer = self._loop.after(self._wait_s, self._unanswered)
