"""Rollouts, their waves and their devices, and what operators wish of them.

Decides: what is stored, and that any process may write a wish. Leaves out: what follows from it (`controller/rollout`).
"""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from controller.errors import ConfigurationError, NotFound
from controller.store import audit, tables

WISHES = ("pause", "resume", "abort", "rollback", "approve")
ENDED = frozenset({"completed", "completed_with_stragglers", "rolled_back", "canceled", "superseded"})
"""States that a rollout never leaves by itself."""
_CAN_BE_TAKEN_BACK = frozenset({"completed", "completed_with_stragglers", "canceled"})


def get(session: Session, rollout: str) -> tables.Rollout:
    """Return a rollout.

    Raises:
        NotFound: None of that id.
    """
    row = session.get(tables.Rollout, rollout)
    if row is None:
        raise NotFound(f"no rollout {rollout!r} in this workspace: see `controller rollout list`")
    return row


def listed(
    session: Session, fleet: str | None = None, workload: str | None = None, *, limit: int = 100
) -> Sequence[tables.Rollout]:
    """Return rollouts, newest first."""
    table = tables.Rollout
    query = select(table).order_by(table.created_s.desc(), table.id).limit(limit)
    if fleet is not None:
        query = query.where(table.fleet == fleet)
    if workload is not None:
        query = query.where(table.workload == workload)
    return session.scalars(query).all()


def active(session: Session, fleet: str | None = None, workload: str | None = None) -> Sequence[tables.Rollout]:
    """Return the rollouts that have not ended, and the ended ones of which something is wished, oldest first."""
    table = tables.Rollout
    going = table.finished_s.is_(None) | table.wish.is_not(None)
    query = select(table).where(going).order_by(table.created_s, table.id)
    if fleet is not None:
        query = query.where(table.fleet == fleet)
    if workload is not None:
        query = query.where(table.workload == workload)
    return session.scalars(query).all()


def of_deployment(session: Session, deployment: str) -> tables.Rollout | None:
    """Return the newest rollout that a deployment started."""
    table = tables.Rollout
    return session.scalars(
        select(table).where(table.deployment == deployment).order_by(table.created_s.desc()).limit(1)
    ).first()


def devices(session: Session, rollout: str) -> Sequence[tables.RolloutDevice]:
    """Return a rollout's devices by wave."""
    table = tables.RolloutDevice
    return session.scalars(select(table).where(table.rollout == rollout).order_by(table.wave, table.device)).all()


def waves(session: Session, rollout: str) -> Sequence[tables.Wave]:
    """Return a rollout's waves in their order."""
    table = tables.Wave
    return session.scalars(select(table).where(table.rollout == rollout).order_by(table.number)).all()


def wish(session: Session, rollout: str, wanted: str, actor: str, *, now_s: float) -> None:
    """Write what an operator asks of a rollout; the leading process carries it out.

    Raises:
        NotFound: None of that id.
        ConfigurationError: No such wish, or the rollout has ended; a complete or canceled one still takes `rollback`.
    """
    row = get(session, rollout)
    if wanted not in WISHES:
        raise ConfigurationError(f"a rollout takes {', '.join(WISHES)}, not {wanted!r}")
    if row.state in ENDED and not (wanted == "rollback" and row.state in _CAN_BE_TAKEN_BACK):
        raise ConfigurationError(f"rollout {rollout} has ended ({row.state}): it takes no {wanted}")
    row.wish, row.wish_actor = wanted, actor
    audit.append(session, actor, f"rollout.wish.{wanted}", rollout, {"state": row.state}, now_s=now_s)


def supersede(session: Session, row: tables.Rollout, because: str, *, now_s: float) -> None:
    """End a rollout in favour of something newer; devices are left as they are."""
    row.state, row.because = "superseded", because
    row.updated_s = row.finished_s = now_s
    row.wish = row.wish_actor = None
    audit.append(session, "controller", "rollout.superseded", row.id, {"because": because}, now_s=now_s)
