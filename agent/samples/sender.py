"""Send captured samples, one after the other, slowly, until the controller has acknowledged each.

Decides: pace, and when a sample is sent again: at once when the broker is back, else ever rarer. Leaves out: files
(`outbox.py`). Nothing is sent while the device downloads: an update must not wait for samples.
"""

import logging
from collections.abc import Callable, Collection, Generator

from agent.loop import Loop, Timer
from agent.samples.outbox import SampleOutbox
from wire.sample import SamplePart

log = logging.getLogger(__name__)

LOOK_S = 10.0
"""How often new samples are looked for."""
FIRST_WAIT_S = 10.0
LONGEST_WAIT_S = 300.0
MOST_BYTES_A_MINUTE = 1024 * 1024
"""As base64, on the wire."""


class SampleSender:
    """One sample is under way at a time. All methods belong to the consumer thread."""

    def __init__(
        self, outbox: SampleOutbox, loop: Loop, send: Callable[[SamplePart], bool], downloads: Callable[[], bool]
    ) -> None:
        """Send nothing before `start`.

        Args:
            outbox: Samples that wait.
            loop: Its timers pace the parts.
            send: Publish a part; returns whether the broker took it.
            downloads: Whether the device downloads an artifact now, or measures.
        """
        self._outbox = outbox
        self._loop = loop
        self._send = send
        self._downloads = downloads
        self._sample: str | None = None
        self._parts: Generator[SamplePart, None, None] | None = None
        self._sent_parts = 0
        self._wait_s = FIRST_WAIT_S
        self._timer: Timer | None = None
        self._stopped = True

    def start(self) -> None:
        """Look for samples from now on; those of an earlier run are sent first."""
        self._stopped = False
        self._outbox.remove_unasked()
        self._after(0.0, self._begin)

    def connected(self) -> None:
        """The broker is back: what was under way is sent again, now."""
        self._wait_s = FIRST_WAIT_S
        self._after(0.0, self._begin)

    def acknowledged(self, samples: Collection[str]) -> list[str]:
        """Delete samples that the controller has, and go on with the next; return those that were here."""
        if not samples:
            return []
        removed = self._outbox.remove(samples)
        if self._sample in samples:
            self._wait_s = FIRST_WAIT_S
            self._after(0.0, self._begin)
        return removed

    def stop(self) -> None:
        """Send nothing more; what was not acknowledged is sent again by the next run."""
        self._stopped = True
        self._drop_parts()
        if self._timer is not None:
            self._timer.cancel()

    def _begin(self) -> None:
        """Take up the oldest sample; look again later where there is none, or now is not the time."""
        self._drop_parts()
        self._sample = None if self._downloads() else self._outbox.oldest()
        if self._sample is None:
            self._after(LOOK_S, self._begin)
            return
        self._parts, self._sent_parts = self._outbox.parts(self._sample), 0
        self._next_part()

    def _next_part(self) -> None:
        try:
            part = next(self._parts, None) if self._parts is not None else None
        except OSError as exc:
            log.warning("sample %s cannot be read: %s", self._sample, exc)
            part, self._sent_parts = None, 0
        if part is None:
            self._all_sent()
        elif self._send(part):
            self._sent_parts += 1
            self._after(len(part.data) * 60.0 / MOST_BYTES_A_MINUTE, self._next_part)
        else:
            self._after(LOOK_S, self._begin)  # the broker is away; `connected` comes sooner

    def _all_sent(self) -> None:
        """Wait for the acknowledgement; a sample that cannot be sent must not hold up those behind it."""
        if self._sent_parts:
            self._after(self._wait_s, self._unanswered)
            return
        log.warning("sample %s cannot be sent and is deleted", self._sample)
        self._outbox.remove({str(self._sample)})
        self._after(LOOK_S, self._begin)

    def _unanswered(self) -> None:
        self._wait_s = min(LONGEST_WAIT_S, self._wait_s * 2)
        self._begin()

    def _drop_parts(self) -> None:
        """Close the file that was being read."""
        if self._parts is not None:
            self._parts.close()
            self._parts = None

    def _after(self, delay_s: float, call: Callable[[], None]) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if not self._stopped:
            self._timer = self._loop.after(delay_s, call)
