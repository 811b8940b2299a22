"""Find retained documents that a broker has lost, or holds in an older form.

Decides: when everything retained has come in after a (re)connection, and which rows are to be published again. Leaves
out: the publishing (`Documents`).

A document that was out before is only repeated once its device was heard: the device may be ahead of this database (a
restored backup), and an older document must not go out. A device that is not there needs none. MQTT has no mark for the
end of the retained messages: silence for a while is taken for it.
"""

import threading
import time
from collections.abc import Callable, Iterable, Mapping

from sqlalchemy import select
from sqlalchemy.orm import Session

from controller.store import tables
from wire.canonical import sha256_hex

QUIET_S = 0.4
"""So long without a retained message: all have come."""
LONGEST_S = 10.0
"""A broker that goes on for longer is not waited for."""

RetainedKey = tuple[str, str, str]
"""(fleet, device, workload); the workload of a plan is empty."""
DeviceKey = tuple[str, str]


class RetainedState:
    """What the broker holds and who was heard since the last connection. Safe to use from several threads."""

    def __init__(self, clock: Callable[[], float], monotonic: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._seen: dict[RetainedKey, str] = {}
        self._heard: set[DeviceKey] = set()
        self._compared: set[DeviceKey] = set()
        self._since_s = self._last_s = 0.0
        self.connected_at_s = 0.0
        """When the last connection was made [s since the epoch]."""

    def connected(self) -> None:
        """Begin anew: a connection was made, and the subscriptions bring what is retained."""
        with self._lock:
            self._seen, self._heard, self._compared = {}, set(), set()
            self._since_s = self._last_s = self._monotonic()
            self.connected_at_s = self._clock()

    def saw(self, retained: Mapping[RetainedKey, str], heard: Iterable[DeviceKey]) -> None:
        """Note documents that the broker holds (key -> digest of the payload), and devices that spoke."""
        with self._lock:
            self._seen |= retained
            self._heard |= set(heard)

    def arrived(self) -> None:
        """Note that a retained message of any kind came: more may follow."""
        with self._lock:
            self._last_s = self._monotonic()

    def has_heard(self, devices: Iterable[DeviceKey]) -> bool:
        """Return whether all of `devices` were heard."""
        with self._lock:
            return set(devices) <= self._heard

    @property
    def settled(self) -> bool:
        """Whether everything retained has come in, as far as one can tell."""
        with self._lock:
            now_s = self._monotonic()
            return now_s - self._last_s >= QUIET_S or now_s - self._since_s >= LONGEST_S

    @property
    def due(self) -> bool:
        """Whether devices were heard whose documents were not yet compared, and everything retained is in."""
        return self.settled and bool(self._heard - self._compared)

    def mark_missing(self, session: Session, fleets: Iterable[str]) -> int:
        """Mark for publication what the broker does not hold as it was written; return how many documents."""
        with self._lock:
            seen, devices = dict(self._seen), self._heard - self._compared
            self._compared |= devices
        missing = [
            row for row in _rows(session, fleets) if (row.fleet, row.device) in devices and self._lost(row, seen)
        ]
        for row in missing:
            row.published_s = None
        return len(missing)

    def _lost(self, row: tables.Desired | tables.Plan, seen: Mapping[RetainedKey, str]) -> bool:
        fresh = row.published_s is not None and row.published_s >= self.connected_at_s
        return bool(row.envelope) and not fresh and seen.get(_key(row)) != sha256_hex(row.envelope.encode())


def _rows(session: Session, fleets: Iterable[str]) -> list[tables.Desired | tables.Plan]:
    mine = set(fleets)
    rows: list[tables.Desired | tables.Plan] = []
    rows += session.scalars(select(tables.Desired).where(tables.Desired.fleet.in_(mine)))
    rows += session.scalars(select(tables.Plan).where(tables.Plan.fleet.in_(mine)))
    return rows


def _key(row: tables.Desired | tables.Plan) -> RetainedKey:
    return row.fleet, row.device, row.workload if isinstance(row, tables.Desired) else ""
