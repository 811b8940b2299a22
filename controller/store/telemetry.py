"""Events and metrics as they came: kept once, bounded in age and number.

Decides: what is kept. Leaves out: what they mean.
"""

from collections.abc import Sequence

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from controller.store import tables
from controller.store.devices import document
from wire.presence import Event
from wire.telemetry import Metrics

EVENTS_KEPT_S = 90 * 86400.0
METRICS_KEPT_S = 7 * 86400.0
MOST_ROWS = 500_000
"""Rows of each kind: about 1 GB at 2 kB each."""

_Row = type[tables.Event] | type[tables.MetricsInterval]


def add_event(session: Session, event: Event, *, now_s: float) -> bool:
    """Keep an event; return whether it was new."""
    if _known(session, tables.Event, event):
        return False
    session.add(
        tables.Event(
            fleet=event.fleet,
            device=event.device,
            boot_id=event.boot_id,
            seq=event.seq,
            kind=event.kind,
            at_s=event.at_s,
            received_s=now_s,
            document=document(event),
        )
    )
    session.flush()
    return True


def add_metrics(session: Session, metrics: Metrics, *, now_s: float) -> bool:
    """Keep an interval; return whether it was new."""
    if _known(session, tables.MetricsInterval, metrics):
        return False
    session.add(
        tables.MetricsInterval(
            fleet=metrics.fleet,
            device=metrics.device,
            boot_id=metrics.boot_id,
            seq=metrics.seq,
            at_s=metrics.at_s,
            received_s=now_s,
            document=document(metrics),
        )
    )
    session.flush()
    return True


def events(session: Session, fleet: str, device: str | None = None, limit: int = 200) -> Sequence[tables.Event]:
    """Return the newest events, oldest first. Order is that of arrival: devices' clocks may be wrong."""
    table = tables.Event
    query = select(table).where(table.fleet == fleet)
    if device is not None:
        query = query.where(table.device == device)
    return list(reversed(session.scalars(query.order_by(table.id.desc()).limit(limit)).all()))


def intervals(
    session: Session, fleet: str, device: str, *, since_s: float = 0.0, limit: int = 10_000
) -> Sequence[tables.MetricsInterval]:
    """Return a device's metrics intervals received at or after `since_s`, oldest first."""
    table = tables.MetricsInterval
    query = select(table).where(table.fleet == fleet, table.device == device, table.received_s >= since_s)
    return session.scalars(query.order_by(table.id).limit(limit)).all()


def prune(session: Session, *, now_s: float, most_rows: int = MOST_ROWS) -> int:
    """Delete what is too old or too much; return how many rows went."""
    gone = 0
    for table, kept_s in ((tables.Event, EVENTS_KEPT_S), (tables.MetricsInterval, METRICS_KEPT_S)):
        newest = session.scalar(select(func.max(table.id))) or 0
        old = (table.received_s < now_s - kept_s) | (table.id <= newest - most_rows)
        gone += len(session.scalars(delete(table).where(old).returning(table.id)).all())
    return gone


def _known(session: Session, table: _Row, message: Event | Metrics) -> bool:
    found = select(table.id).where(
        table.fleet == message.fleet,
        table.device == message.device,
        table.boot_id == message.boot_id,
        table.seq == message.seq,
    )
    return session.scalars(found).first() is not None
