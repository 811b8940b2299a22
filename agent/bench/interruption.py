"""Ctrl-C and SIGTERM while a bundle is measured: what was measured until then is not lost.

Decides: that the first signal ends measuring and leaves the records, and that a second one ends at once, as does one
that comes before anything was measured. Leaves out: what the records then say (`agent/measure/queue.py`).
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """`cancel` is set by the first signal that comes once a process was begun."""

    def __init__(self) -> None:
        self.cancel = threading.Event()
        self._has_begun = False

    def hear(self, event: str) -> None:
        """Take in an event of the measuring's progress."""
        self._has_begun = self._has_begun or event == "replicate"

    def __call__(self, _number: int, _frame: FrameType | None) -> None:
        """Handle a signal.

        Raises:
            KeyboardInterrupt: There is nothing to leave, or it was asked for twice.
        """
        if self.cancel.is_set() or not self._has_begun:
            raise KeyboardInterrupt
        self.cancel.set()


@contextmanager
def interruptible() -> Iterator[Interruption]:
    """Take both signals for as long as something is measured; only in the main thread."""
    taken = Interruption()
    before = {number: signal.signal(number, taken) for number in SIGNALS}
    try:
        yield taken
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
