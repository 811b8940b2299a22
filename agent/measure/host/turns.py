"""When measuring may begin: once no other agent of this host measures, and once the host is at rest.

Decides: how long is waited, and what is flagged where the wait was in vain. Leaves out: what rest is
(`conditions/judge.py`).
"""

import contextlib
import fcntl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from agent.measure import conditions
from agent.measure.conditions import IdleTemperature
from agent.measure.process import Canceled

POLL_S = 0.2
"""Between two looks at the host: as long as counters need to tell anything."""


@contextlib.contextmanager
def host_lock(path: Path | None, cancel: threading.Event) -> Iterator[None]:
    """Hold the host's measuring lock: agents that share a host take turns. Released by the kernel if we die.

    Raises:
        Canceled: `cancel` was set while waiting.
    """
    if path is None:
        yield
        return
    with path.open("a") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if cancel.wait(POLL_S):
                    raise Canceled from None
        try:
            yield
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)


def wait_until_at_rest(
    limit_s: float, cancel: threading.Event, idle: IdleTemperature | None = None, root: Path = conditions.ROOT
) -> tuple[float, tuple[str, ...]]:
    """Wait for others to leave the processor alone and for it to cool down, at most `limit_s`.

    Args:
        limit_s: A busy board may never come to rest: then the trial runs, flagged.
        cancel: Ends the wait.
        idle: Temperature at rest; it hears of every look.
        root: Of the file system.
    Returns:
        How long was waited [s], and the reasons against beginning that are left.
    Raises:
        Canceled: `cancel` was set.
    """
    start, earlier = time.monotonic(), conditions.snapshot(root)
    while True:
        if cancel.wait(POLL_S):
            raise Canceled
        if idle is not None:
            idle.note(earlier, time.time())
        celsius = None if idle is None else idle.celsius(time.time())
        reasons = conditions.preflight(root, celsius, earlier)
        waited_s = time.monotonic() - start
        if conditions.WAITED_FOR.isdisjoint(reasons) or waited_s >= limit_s:
            return waited_s, reasons
        earlier = conditions.snapshot(root)
