"""The way in: messages from the network thread, through a bounded queue, to the one thread that stores them.

Decides: how many messages wait, how many are one batch, what happens when the disk is full, and that others who write
have a turn. Leaves out: what they mean.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable

from controller.distribute.reconcile import RetainedState
from controller.errors import DiskFull
from controller.fleet.ingest import Effects, Ingest
from controller.mqtt import Received

log = logging.getLogger(__name__)

MOST_WAITING = 5000
"""Messages that wait to be stored; beyond, the network thread waits, and the broker with it."""
LARGEST_BATCH = 200
FULL_DISK_PAUSE_S = 5.0
BREATHE_EVERY_S = 1.0
BREATH_S = 0.12
"""While messages keep coming, the database's write lock is free for so long now and then: SQLite lets nobody queue, and
who waits for the lock looks for it only every 0.1 s."""
_IDLE_S = 0.5


class Inbox:
    """A queue and the ingest thread behind it."""

    def __init__(self, ingest: Ingest, retained: RetainedState, carry_out: Callable[[Effects], None]) -> None:
        self._ingest = ingest
        self._retained = retained
        self._carry_out = carry_out
        self._queue: queue.Queue[Received] = queue.Queue(MOST_WAITING)
        self._stopping = threading.Event()
        self._busy = threading.Event()
        self._breathed_s = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="ingest", daemon=True)

    @property
    def empty(self) -> bool:
        """Whether all that came in is stored."""
        return self._queue.empty() and not self._busy.is_set()

    def put(self, message: Received) -> None:
        """Take a message; called on the network thread, waits while the queue is full."""
        if message.retained:
            self._retained.arrived()
        while not self._stopping.is_set():
            try:
                self._queue.put(message, timeout=1.0)
                return
            except queue.Full:
                log.warning("%d messages wait to be stored: the broker has to wait", MOST_WAITING)

    def start(self) -> None:
        """Start storing."""
        self._thread.start()

    def stop(self) -> None:
        """Stop; what still waits is dropped, since devices repeat what matters."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(15.0)

    def _run(self) -> None:
        while not self._stopping.is_set():
            batch = self._next_batch()
            try:
                if batch:
                    self._carry_out(self._store(batch))
            except Exception:
                log.exception("%d messages were lost; devices repeat what matters", len(batch))
            finally:
                self._busy.clear()
            self._breathe()

    def _breathe(self) -> None:
        """Let others write, too."""
        if self._queue.empty():
            self._breathed_s = time.monotonic()
        elif time.monotonic() - self._breathed_s >= BREATHE_EVERY_S:
            self._stopping.wait(BREATH_S)
            self._breathed_s = time.monotonic()

    def _next_batch(self) -> list[Received]:
        try:
            first = self._queue.get(timeout=_IDLE_S)
        except queue.Empty:
            return []
        self._busy.set()
        batch = [first]
        while len(batch) < LARGEST_BATCH and not self._queue.empty():
            batch.append(self._queue.get_nowait())
        return batch

    def _store(self, batch: list[Received]) -> Effects:
        while not self._stopping.is_set():
            try:
                return self._ingest.batch(batch)
            except DiskFull as exc:
                log.error("%s; %d messages wait for it", exc, len(batch))
                self._stopping.wait(FULL_DISK_PAUSE_S)
        return Effects()
