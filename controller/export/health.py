"""Whether this process lives, and whether it can do its work: what `/healthz` and `/readyz` answer.

Decides: what is looked at, and when the engine thread counts as stuck. Leaves out: HTTP (`server.py`).
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from sqlalchemy.orm import Session

from controller.errors import ControllerError
from controller.store import tables
from controller.store.database import Store

STUCK_S = 60.0
"""A turn of the engine thread takes half a second; one that writes to a slow disk may take some."""
PATIENCE_MS = 2000
"""How long the database's write lock is waited for."""


class Served(Protocol):
    """What is asked of the service."""

    @property
    def connected(self) -> bool: ...
    @property
    def turns(self) -> int: ...
    @property
    def owner(self) -> str: ...


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    name: str
    good: bool
    detail: str = ""


class Health:
    """Looks when it is asked. `store` is its own: it waits for the write lock for a short while only."""

    def __init__(self, service: Served, store: Store, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._service = service
        self._store = store
        self._monotonic = monotonic
        self._turns, self._turned_s = -1, monotonic()

    def alive(self) -> list[Check]:
        """Return whether the thread that decides still takes its turns."""
        now_s, turns = self._monotonic(), self._service.turns
        if turns != self._turns:
            self._turns, self._turned_s = turns, now_s
        still_s = now_s - self._turned_s
        return [Check("engine", still_s < STUCK_S, f"turn {turns}, {still_s:.0f} s without another")]

    def ready(self) -> list[Check]:
        """Return whether broker, database and lead are there."""
        connected = self._service.connected
        broker = Check("broker", connected, "connected" if connected else "not connected; it is tried again")
        return [broker, self.writable(), self._leads(), *self.alive()]

    def writable(self) -> Check:
        """Return whether the database takes a write lock now."""
        try:
            with self._store.begin() as session:
                session.connection()  # which takes the lock; without it nothing is asked of the database
                return Check("database", True, "writable")
        except ControllerError as exc:
            return Check("database", False, f"{exc.reason}: {exc}")

    def _leads(self) -> Check:
        try:
            with self._store.read() as session:
                owner = leader(session)
        except ControllerError as exc:
            return Check("leadership", False, f"{exc.reason}: {exc}")
        detail = "leads" if owner == self._service.owner else f"led by {owner or 'nobody'}"
        return Check("leadership", owner == self._service.owner, detail)


def leader(session: Session) -> str | None:
    """Return who leads as the database says, or None."""
    row = session.query(tables.Leader).first()
    return row.owner if row is not None else None


def document(checks: list[Check]) -> Mapping[str, object]:
    """Return checks as JSON values."""
    good = all(check.good for check in checks)
    return {
        "good": good,
        "checks": {check.name: {"good": check.good, "detail": check.detail} for check in checks},
    }
