"""Wake whoever waits for news: a counter that every thread compares with the value it saw last."""

import threading


class Changes:
    """Counts changes. A thread that waits is woken by any change since it last asked, so none is missed."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._count = 0
        self._seen = threading.local()
        self._ended: Exception | None = None

    def note(self) -> None:
        """Say that something changed."""
        with self._condition:
            self._count += 1
            self._condition.notify_all()

    def end(self, error: Exception) -> None:
        """Say that nothing will change any more: whoever waits gets `error`."""
        with self._condition:
            self._ended = error
            self._condition.notify_all()

    def wait(self, timeout_s: float) -> bool:
        """Return whether anything changed since this thread last asked, waiting for it up to `timeout_s`.

        Raises:
            Exception: What `end` was given.
        """
        seen = getattr(self._seen, "count", 0)
        with self._condition:
            self._condition.wait_for(lambda: self._count != seen or self._ended is not None, timeout_s)
            if self._ended is not None:
                raise self._ended
            self._seen.count = self._count
            return self._count != seen
