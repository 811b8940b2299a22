"""Deployments: one `controller deploy` each, with the variants that were made for it and the choices.

Decides: that one fleet and workload has one running deployment, and that its owner keeps a lease on it. Leaves out: the
stages' work (`controller/deploy`).
"""

from collections.abc import Iterable, Sequence

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from controller.errors import Busy, NotFound
from controller.owner import process_is_gone
from controller.store import tables

REQUESTED = "requested"
ENDED = frozenset({"completed", "up_to_date", "failed", "canceled"})
LEASE_S = 15.0
"""An owner that has not renewed its lease for so long is gone: another process may carry the deployment on."""


def create(session: Session, row: tables.Deployment, *, now_s: float) -> tables.Deployment:
    """Write a new deployment as `requested`.

    Args:
        session: Of a writing transaction; it is lost on an error.
        row: With id, fleet, workload, model, model_version and settings.
        now_s: Time [s since the epoch].
    Raises:
        Busy: Another deployment of this fleet and workload runs.
    """
    row.stage, row.active_key = REQUESTED, f"{row.fleet}/{row.workload}"
    row.created_s = row.updated_s = now_s
    other = active(session, row.fleet, row.workload)
    if other is None:
        session.add(row)
        try:
            session.flush()
        except IntegrityError:  # a database that lets two writers in: the unique key decides
            raise Busy(_busy(row.fleet, row.workload, "another one")) from None
        return row
    raise Busy(_busy(row.fleet, row.workload, f"{other.id} ({other.stage})"))


def get(session: Session, deployment: str) -> tables.Deployment:
    """Return a deployment.

    Raises:
        NotFound: None of that id.
    """
    row = session.get(tables.Deployment, deployment)
    if row is None:
        raise NotFound(f"no deployment {deployment!r} in this workspace: see `controller report`")
    return row


def active(session: Session, fleet: str, workload: str) -> tables.Deployment | None:
    """Return the running deployment of a fleet and workload."""
    return session.scalars(
        select(tables.Deployment).where(tables.Deployment.active_key == f"{fleet}/{workload}")
    ).one_or_none()


def running(session: Session) -> Sequence[tables.Deployment]:
    """Return the deployments that have not ended, oldest first."""
    table = tables.Deployment
    return session.scalars(select(table).where(table.active_key.is_not(None)).order_by(table.created_s)).all()


def listed(
    session: Session, fleet: str | None = None, workload: str | None = None, *, limit: int = 100
) -> Sequence[tables.Deployment]:
    """Return deployments, newest first."""
    table = tables.Deployment
    query = select(table).order_by(table.created_s.desc(), table.id).limit(limit)
    if fleet is not None:
        query = query.where(table.fleet == fleet)
    if workload is not None:
        query = query.where(table.workload == workload)
    return session.scalars(query).all()


def unowned(session: Session, *, now_s: float) -> Sequence[tables.Deployment]:
    """Return running deployments that nobody works on: requested, or left by a process that died."""
    table = tables.Deployment
    rows = session.scalars(select(table).where(table.active_key.is_not(None)).order_by(table.created_s)).all()
    return [row for row in rows if not is_held(row, now_s)]


def is_held(row: tables.Deployment, now_s: float) -> bool:
    """Whether a process works on a deployment: it holds a lease, and if it ran on this host, it still does."""
    return row.owner is not None and (row.lease_s or 0.0) >= now_s and not process_is_gone(row.owner)


def claim(session: Session, deployment: str, owner: str, *, now_s: float) -> tables.Deployment:
    """Take a deployment on, or renew the lease on it.

    Raises:
        Busy: Another owner's lease still holds.
        NotFound: None of that id.
    """
    row = get(session, deployment)
    if row.owner != owner and is_held(row, now_s):
        raise Busy(_busy(row.fleet, row.workload, f"{row.id} ({row.stage}, by {row.owner})"))
    row.owner, row.lease_s, row.updated_s = owner, now_s + LEASE_S, now_s
    return row


def set_stage(session: Session, deployment: str, stage: str, *, now_s: float) -> tables.Deployment:
    """Write the stage that begins; one of `ENDED` ends the deployment and frees its fleet and workload."""
    row = get(session, deployment)
    row.stage, row.updated_s = stage, now_s
    if stage in ENDED:
        row.active_key, row.owner, row.lease_s, row.finished_s = None, None, None, now_s
    return row


def fail(session: Session, deployment: str, reason: str, detail: str, *, now_s: float) -> None:
    """End a deployment as failed, with the reason code and the text for people."""
    set_stage(session, deployment, "failed", now_s=now_s).error = {"reason": reason, "detail": detail}


def set_variants(session: Session, rows: Iterable[tables.Variant]) -> None:
    """Write variants, each replacing the one of its name."""
    for row in rows:
        session.merge(row)
    session.flush()


def variants(session: Session, deployment: str) -> Sequence[tables.Variant]:
    """Return a deployment's variants, the control first."""
    table = tables.Variant
    return session.scalars(
        select(table).where(table.deployment == deployment).order_by(table.control.desc(), table.variant)
    ).all()


def set_choice(session: Session, row: tables.Choice) -> None:
    """Write the choice for a class, replacing the former one."""
    session.merge(row)
    session.flush()


def choices(session: Session, deployment: str) -> Sequence[tables.Choice]:
    """Return a deployment's choices by class."""
    table = tables.Choice
    return session.scalars(select(table).where(table.deployment == deployment).order_by(table.device_class)).all()


def _busy(fleet: str, workload: str, who: str) -> str:
    return (
        f"a deployment of {fleet}/{workload} runs already: {who}; wait for it, "
        "look at it with `controller rollout list`, or end it with `controller rollout abort`"
    )
