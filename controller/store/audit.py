"""The audit chain: every decision and every operator's action, each row bound to the one before it by a hash.

Decides: what is hashed, and how a break is found. Leaves out: who writes what. The chain shows that rows were changed,
added in between or removed from the middle; that its end was cut off shows only against a hash kept elsewhere
(`head`, printed by `controller audit verify` and stored in backups).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from controller.store.tables import Audit
from wire.canonical import canonical_json, sha256_hex

FIRST_HASH = "0" * 64


@dataclass(frozen=True)
class Verdict:
    """Whether the chain holds. `broken_at` is the id of the first row that does not fit, `because` says how."""

    rows: int
    head: str
    broken_at: int | None = None
    because: str = ""

    @property
    def holds(self) -> bool:
        return self.broken_at is None


def append(session: Session, actor: str, action: str, subject: str, detail: dict[str, Any], *, now_s: float) -> Audit:
    """Add a row to the chain, in the caller's writing transaction (its write lock keeps the chain in one line).

    Args:
        session: Of a writing transaction.
        actor: Who: `controller`, `operator:NAME`, `device:NAME`.
        action: What, e.g. `rollout.wave_offered`.
        subject: On what, e.g. a rollout's id.
        detail: The inputs of the decision; JSON types.
        now_s: Time [s since the epoch].
    """
    previous = head(session)
    row = Audit(at_s=now_s, actor=actor, action=action, subject=subject, detail=detail, previous_hash=previous, hash="")
    row.hash = _hash(row)
    session.add(row)
    session.flush()
    return row


def head(session: Session) -> str:
    """Return the hash of the newest row: it stands for the whole chain."""
    newest = session.scalars(select(Audit.hash).order_by(Audit.id.desc()).limit(1)).first()
    return newest or FIRST_HASH


def verify(session: Session) -> Verdict:
    """Recompute the chain from its beginning."""
    previous, rows = FIRST_HASH, 0
    for row in session.scalars(select(Audit).order_by(Audit.id).execution_options(yield_per=500)):
        if row.previous_hash != previous:
            return Verdict(rows, previous, row.id, "a row before it was removed, added or moved")
        if row.hash != _hash(row):
            return Verdict(rows, previous, row.id, "the row was changed after it was written")
        previous, rows = row.hash, rows + 1
    return Verdict(rows, previous)


def entries(session: Session, subject: str | None = None, limit: int = 1000) -> Sequence[Audit]:
    """Return the newest rows, oldest first, of one subject or of all."""
    query = select(Audit).order_by(Audit.id.desc()).limit(limit)
    if subject is not None:
        query = query.where(Audit.subject == subject)
    return list(reversed(session.scalars(query).all()))


def _hash(row: Audit) -> str:
    content = [row.at_s, row.actor, row.action, row.subject, row.detail, row.previous_hash]
    return sha256_hex(canonical_json(content))
