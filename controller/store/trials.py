"""Trials asked of the fleet, and the records that come back in parts.

Decides: what is kept of a record on its way, and the bounds on it. Leaves out: decoding (`controller/fleet/records.py`)
and which variant is measured where (`controller/trial`).
"""

from collections.abc import Iterable, Sequence

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from controller.store import tables
from controller.store.devices import document
from wire.trial import TrialRequest

ASKED, RECEIVED, CANCELED = "asked", "received", "canceled"
MOST_PARTS_OF_A_DEVICE = 2000
"""Parts kept of records that are not complete: 2000 of 66 kB are 130 MB; beyond, the oldest go and are sent again."""


def ask(
    session: Session,
    deployment: tables.Deployment,
    device: str,
    device_class: str,
    request: TrialRequest,
    *,
    now_s: float,
) -> bool:
    """Write a trial; return whether it is new. One that is known stays as it is: asking again changes nothing."""
    if session.get(tables.Trial, request.trial) is not None:
        return False
    session.add(
        tables.Trial(
            trial=request.trial,
            deployment=deployment.id,
            fleet=deployment.fleet,
            device=device,
            device_class=device_class,
            workload=request.workload,
            variant=request.variant,
            bundle=request.bundle.digest,
            control=request.control,
            request=document(request),
            stage=ASKED,
            asked_s=now_s,
        )
    )
    session.flush()
    return True


def get(session: Session, trial: str) -> tables.Trial | None:
    """Return one trial."""
    return session.get(tables.Trial, trial)


def of_deployment(session: Session, deployment: str) -> Sequence[tables.Trial]:
    """Return a deployment's trials by device, in the order asked."""
    table = tables.Trial
    return session.scalars(
        select(table).where(table.deployment == deployment).order_by(table.device, table.asked_s, table.trial)
    ).all()


def names_of_deployment(session: Session, deployment: str) -> Sequence[str]:
    """Return the names of a deployment's trials by device, in the order asked; no record is read."""
    table = tables.Trial
    return session.scalars(
        select(table.trial).where(table.deployment == deployment).order_by(table.device, table.asked_s, table.trial)
    ).all()


def in_fleet(session: Session, fleet: str, limit: int = 1000) -> Sequence[tables.Trial]:
    """Return a fleet's newest trials, newest first."""
    table = tables.Trial
    return session.scalars(
        select(table).where(table.fleet == fleet).order_by(table.asked_s.desc(), table.trial).limit(limit)
    ).all()


def open_requests(session: Session, fleet: str, device: str) -> list[TrialRequest]:
    """Return what a device is still to measure, over all deployments: the content of its plan."""
    table = tables.Trial
    rows = session.scalars(
        select(table)
        .where(table.fleet == fleet, table.device == device, table.stage == ASKED)
        .order_by(table.asked_s, table.trial)
    )
    return [TrialRequest.model_validate(row.request) for row in rows]


def cancel(session: Session, deployment: str, device: str | None = None) -> Sequence[tables.Trial]:
    """Cancel a deployment's trials that have not come back, of one device or of all; return them."""
    table = tables.Trial
    query = select(table).where(table.deployment == deployment, table.stage == ASKED)
    if device is not None:
        query = query.where(table.device == device)
    rows = session.scalars(query).all()
    for row in rows:
        row.stage = CANCELED
    session.flush()
    return rows


def receive(session: Session, row: tables.Trial, record: bytes, outcome: str, *, now_s: float) -> None:
    """Store a record (zlib-compressed canonical JSON). One that was canceled keeps its record too."""
    row.stage, row.outcome, row.record, row.received_s = RECEIVED, outcome, record, now_s
    session.flush()


def add_part(session: Session, part: tables.TrialPart) -> list[bytes] | None:
    """Keep a part; return all parts in order when none is missing any more.

    The same part twice is kept once. A part that claims another number of parts than those before it starts anew.
    """
    kept = _parts(session, part)
    if any(other.parts != part.parts for other in kept):
        drop_parts(session, part.fleet, part.device, part.trial)
        kept = []
    if all(other.part != part.part for other in kept):
        session.add(part)
        session.flush()
        kept = _parts(session, part)
    _bound(session, part.fleet, part.device)
    return [other.content for other in kept] if len(kept) == part.parts else None


def drop_parts(session: Session, fleet: str, device: str, trial: str) -> None:
    """Forget the parts of a record: it is complete, or broken."""
    table = tables.TrialPart
    session.execute(delete(table).where(table.fleet == fleet, table.device == device, table.trial == trial))
    session.expire_all()


def _parts(session: Session, part: tables.TrialPart) -> Sequence[tables.TrialPart]:
    table = tables.TrialPart
    return session.scalars(
        select(table)
        .where(
            table.fleet == part.fleet,
            table.device == part.device,
            table.trial == part.trial,
            table.sha256 == part.sha256,
        )
        .order_by(table.part)
    ).all()


def _bound(session: Session, fleet: str, device: str) -> None:
    table = tables.TrialPart
    mine = (table.fleet == fleet) & (table.device == device)
    count = session.scalar(select(func.count()).select_from(table).where(mine)) or 0
    if count > MOST_PARTS_OF_A_DEVICE:
        oldest = session.scalars(select(table).where(mine).order_by(table.received_s).limit(count // 2)).all()
        _delete(session, oldest)


def _delete(session: Session, rows: Iterable[tables.TrialPart]) -> None:
    for row in rows:
        session.delete(row)
    session.flush()
