"""Documents whose signatures are being checked: one at a time, in the order in which they came.

Decides: how many may wait (a broker that floods the device is refused, not served), and that a check which could not be
made is made again: a document is never lost for want of memory. Leaves out: the check (`trust.py`).
"""

import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from agent.loop import Loop
from wire.errors import MalformedMessage, WireError

log = logging.getLogger(__name__)

MOST_WAITING = 64
AGAIN_S = 5.0

Read = Callable[[], Any]
Done = Callable[[Any], None]


class Documents:
    """The queue. All methods belong to the consumer thread."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._waiting: deque[tuple[Read, Done]] = deque()
        self._checking = False

    def add(self, read: Read, done: Done) -> bool:
        """Have `done` called with what `read` returns, or the `WireError` that it raises; False where too many wait.

        Args:
            read: Checks and reads a document, on a thread of its own. An `OSError` says that it could not be checked.
            done: Called on the consumer thread, in the order of `add`.
        """
        if len(self._waiting) >= MOST_WAITING:
            return False
        self._waiting.append((read, done))
        if not self._checking:
            self._next()
        return True

    def _next(self) -> None:
        self._checking = bool(self._waiting)
        if self._checking:
            threading.Thread(target=self._check, args=self._waiting[0][:1], name="signature", daemon=True).start()

    def _check(self, read: Read) -> None:
        try:
            answer = read()
        except WireError as exc:
            answer = exc
        except OSError as exc:
            log.error("a document cannot be checked, it is tried again in %.0f s: %s", AGAIN_S, exc)
            self._loop.post(self._again)
            return
        except Exception as exc:
            # The outermost loop of this thread: a fault here is a refused document, not a deaf device.
            log.exception("a document cannot be read")
            answer = MalformedMessage(f"{type(exc).__name__}: {exc}")
        self._loop.post(lambda: self._answered(answer))

    def _again(self) -> None:
        self._loop.after(AGAIN_S, self._next)

    def _answered(self, answer: Any) -> None:
        _, done = self._waiting.popleft()
        self._next()
        done(answer)
