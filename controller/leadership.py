"""One process decides: leadership of a workspace's database, with a heartbeat, and an epoch that fences the former one.

Decides: who leads and when a leader is gone. Leaves out: what a leader does.
A leader is gone when its heartbeat is older than `STALE_S`, or at once when its process on this host no longer runs.
"""

from collections.abc import Callable

from sqlalchemy.orm import Session

from controller.errors import Busy
from controller.owner import new_owner, process_is_gone
from controller.store import audit, tables
from controller.store.database import Store

STALE_S = 15.0
BEAT_S = 3.0
NOBODY = ""
_ROW = 1


class LeadershipLost(Busy):
    """Another process has taken over: this one must publish nothing more."""

    reason = "leadership_lost"


class Leadership:
    """This process's claim to lead; `epoch` is 0 until it was taken."""

    def __init__(self, store: Store, clock: Callable[[], float], owner: str | None = None) -> None:
        self._store = store
        self._clock = clock
        self.owner = owner or new_owner()
        self.epoch = 0
        self.former_life_s = 0.0
        """Last heartbeat of the leader before this one [s since the epoch]; 0 for the first leader of a database."""

    def take(self) -> int:
        """Become the leader and return the new epoch, one more than the last.

        Raises:
            Busy: Another leader lives; the text says which.
        """
        with self._store.begin() as session:
            row = session.get(tables.Leader, _ROW)
            if row is not None and leads(row, self._clock()) and row.owner != self.owner:
                raise Busy(f"this workspace is led by {row.owner}: use that process, or stop it first")
            self.epoch = (row.epoch if row else 0) + 1
            self.former_life_s = row.heartbeat_s if row else 0.0
            self._write(session, row)
        return self.epoch

    def beat(self) -> None:
        """Renew the claim.

        Raises:
            LeadershipLost: Another process has taken over; nothing may be published any more.
        """
        with self._store.begin() as session:
            self.check(session).heartbeat_s = self._clock()

    def check(self, session: Session) -> tables.Leader:
        """Return the leader's row, which must still be ours, in the transaction that writes a decision.

        Raises:
            LeadershipLost: Another process has taken over.
        """
        row = session.get(tables.Leader, _ROW)
        if row is None or (row.owner, row.epoch) != (self.owner, self.epoch):
            raise LeadershipLost(
                f"leadership was lost to {row.owner if row else 'nobody'}: this process stops deciding"
            )
        return row

    def rise_above(self, seen: int) -> bool:
        """Rise above an epoch that the fleet has seen under another leader; return whether that was needed."""
        if seen < self.epoch:
            return False
        with self._store.begin() as session:
            row = self.check(session)
            detail = {"from": self.epoch, "to": seen + 1, "because": "the fleet has seen it under another leader"}
            row.epoch = seen + 1
            audit.append(session, "controller", "leader.epoch_raised", self.owner, detail, now_s=self._clock())
        self.epoch = seen + 1
        return True

    def release(self) -> None:
        """Step down, so that the next leader need not wait."""
        with self._store.begin() as session:
            row = session.get(tables.Leader, _ROW)
            if row is not None and (row.owner, row.epoch) == (self.owner, self.epoch):
                row.owner, row.heartbeat_s = NOBODY, self._clock()

    def _write(self, session: Session, row: tables.Leader | None) -> None:
        now_s = self._clock()
        if row is None:
            session.add(tables.Leader(id=_ROW, epoch=self.epoch, owner=self.owner, heartbeat_s=now_s))
        else:
            row.epoch, row.owner, row.heartbeat_s = self.epoch, self.owner, now_s
        audit.append(session, "controller", "leader.taken", self.owner, {"epoch": self.epoch}, now_s=now_s)


def current_leader(store: Store, now_s: float) -> str | None:
    """Return who leads the workspace now, or None."""
    with store.read() as session:
        row = session.get(tables.Leader, _ROW)
        return row.owner if row is not None and leads(row, now_s) else None


def leads(row: tables.Leader, now_s: float) -> bool:
    """Return whether the leader of `row` still lives."""
    fresh = row.owner != NOBODY and abs(now_s - row.heartbeat_s) < STALE_S
    return fresh and not process_is_gone(row.owner)
