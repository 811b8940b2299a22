"""Devices and what their workloads last said of themselves.

Decides: which report counts: once by (boot, number), no late report of an earlier boot, a terminal state for good.
Leaves out: what a report leads to (`desired.adopt_report`, the rollout's engine).
"""

from collections.abc import Collection, Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from controller.store import tables
from wire.base import Message
from wire.device_state import TERMINAL, State
from wire.presence import Inventory, Presence, protocol_fault
from wire.telemetry import Metrics
from wire.update import Reported

KEPT_BOOTS = 16
"""Former boots remembered a workload: a late report of an older one would have to outlive 16 restarts."""


def touch(session: Session, fleet: str, device: str, *, now_s: float, live: bool = True) -> tables.Device:
    """Return the device's row, made when missing; `live`: it was heard just now, not kept by the broker."""
    row = session.get(tables.Device, (fleet, device))
    if row is None:
        row = tables.Device(fleet=fleet, device=device, online=False, first_seen_s=now_s, last_seen_s=now_s)
        session.add(row)
    if live:
        row.last_seen_s = max(row.last_seen_s, now_s)
    return row


def set_presence(session: Session, presence: Presence, *, now_s: float, live: bool = True) -> bool:
    """Store whether a device is there; return whether that changed.

    The will of an earlier boot can arrive after the new boot said that it is online: then it is ignored. A device
    whose protocol is not served counts as absent: nothing is asked of it, and its health says why.
    """
    # A retained "online" is news all the same: the broker would have put the will in its place.
    row = touch(session, presence.fleet, presence.device, now_s=now_s, live=live or presence.online)
    if not presence.online and row.online and presence.boot_id != row.boot_id:
        return False
    before = (row.online, row.boot_id)
    row.online = presence.online and protocol_fault(presence.protocol) is None
    row.boot_id, row.agent_version, row.protocol = presence.boot_id, presence.agent_version, presence.protocol
    return (row.online, row.boot_id) != before


def set_inventory(session: Session, inventory: Inventory, *, now_s: float, live: bool = True) -> None:
    """Store what a device has."""
    touch(session, inventory.fleet, inventory.device, now_s=now_s, live=live).inventory = document(inventory)


def mark_absent(session: Session, fleets: Collection[str], *, before_s: float) -> int:
    """Mark devices of these fleets as offline that were not heard since `before_s`; return how many.

    For a broker that lost its memory: it has no will to publish for a device that never came back.
    """
    table = tables.Device
    absent = (table.online.is_(True), table.last_seen_s < before_s, table.fleet.in_(fleets))
    rows = session.scalars(select(table).where(*absent)).all()
    for row in rows:
        row.online = False
    return len(rows)


def online(session: Session) -> set[tuple[str, str]]:
    """Return (fleet, device) of all devices that are held for online."""
    rows = session.execute(select(tables.Device.fleet, tables.Device.device).where(tables.Device.online.is_(True)))
    return {(fleet, device) for fleet, device in rows}


def set_metrics(session: Session, metrics: Metrics, *, now_s: float) -> None:
    """Store a device's newest interval, for views; the history is in `telemetry`."""
    row = touch(session, metrics.fleet, metrics.device, now_s=now_s)
    row.metrics, row.metrics_s = document(metrics), now_s


def record_report(session: Session, report: Reported, *, now_s: float, live: bool = True) -> bool:
    """Store what a workload says of itself; return whether the report was news.

    A terminal state stays what it was for its (gen, attempt), whatever comes later; the running digest is always taken.
    """
    touch(session, report.fleet, report.device, now_s=now_s, live=live)
    row = session.get(tables.Reported, (report.fleet, report.device, report.workload))
    if row is None:
        row = tables.Reported(fleet=report.fleet, device=report.device, workload=report.workload, former_boots=None)
        session.add(row)
    elif _is_old(row, report):
        return False
    else:
        report = _keep_terminal(row, report)
        row.former_boots = _boots_after(row, report.boot_id)
    row.gen, row.state, row.active = report.gen, report.state.value, report.active
    row.boot_id, row.seq, row.received_s = report.boot_id, report.seq, now_s
    row.document = document(report)
    session.flush()
    return True


def in_fleet(session: Session, fleet: str) -> Sequence[tables.Device]:
    """Return the fleet's devices by name."""
    return session.scalars(
        select(tables.Device).where(tables.Device.fleet == fleet).order_by(tables.Device.device)
    ).all()


def get(session: Session, fleet: str, device: str) -> tables.Device | None:
    """Return one device."""
    return session.get(tables.Device, (fleet, device))


def fleets(session: Session) -> Sequence[str]:
    """Return the names of all fleets that a device was ever seen in."""
    return session.scalars(select(tables.Device.fleet).distinct().order_by(tables.Device.fleet)).all()


def reports(session: Session, fleet: str, workload: str | None = None) -> Sequence[tables.Reported]:
    """Return what the workloads of a fleet last said."""
    query = select(tables.Reported).where(tables.Reported.fleet == fleet)
    if workload is not None:
        query = query.where(tables.Reported.workload == workload)
    return session.scalars(query.order_by(tables.Reported.device, tables.Reported.workload)).all()


def has_reported(session: Session, fleet: str, device: str, workload: str | None = None) -> bool:
    """Return whether this workload of the device, or any, ever said what it is."""
    table = tables.Reported
    asked = select(table.gen).where(table.fleet == fleet, table.device == device)
    if workload is not None:
        asked = asked.where(table.workload == workload)
    return session.scalars(asked).first() is not None


def document(message: Message) -> tables.Document:
    """Return a message as it is stored: JSON types, absent fields left out."""
    return message.model_dump(mode="json", exclude_none=True)


def _is_old(row: tables.Reported, report: Reported) -> bool:
    if report.boot_id == row.boot_id:
        return report.seq <= row.seq
    return report.boot_id in (row.former_boots or {}).get("boots", [])


def _boots_after(row: tables.Reported, boot_id: str) -> tables.Document | None:
    if boot_id == row.boot_id:
        return row.former_boots
    boots = [*(row.former_boots or {}).get("boots", []), row.boot_id]
    return {"boots": boots[-KEPT_BOOTS:]}


def _keep_terminal(row: tables.Reported, report: Reported) -> Reported:
    known = Reported.model_validate(row.document)
    same = (known.gen, known.attempt, known.epoch) == (report.gen, report.attempt, report.epoch)
    if not same or State(known.state) not in TERMINAL or known.state is report.state:
        return report
    return report.model_copy(update={"state": known.state, "error": known.error})
