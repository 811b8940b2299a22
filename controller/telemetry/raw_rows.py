"""Requests for single queries and what came back, in the database: any process may ask, the one that leads publishes.

Decides: that a request is on record, how long its records are kept. Leaves out: publishing (`raw_publish.py`).
"""

import secrets
from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from controller.errors import NotFound
from controller.store import audit, tables
from wire.raw import RawPart, RawRequest, unpack_records

KEPT_S = 86400.0
"""Records of single queries are for looking at once."""


def ask(session: Session, request: RawRequest, actor: str) -> None:
    """Write a request, to be published by the process that leads.

    Raises:
        NotFound: The device was never seen, or never said that it has this workload.
    """
    if session.get(tables.Device, (request.fleet, request.device)) is None:
        raise NotFound(f"no device {request.device!r} was ever seen in fleet {request.fleet!r}")
    if session.get(tables.Reported, (request.fleet, request.device, request.workload)) is None:
        names = select(tables.Reported.workload).where(
            tables.Reported.fleet == request.fleet, tables.Reported.device == request.device
        )
        known = ", ".join(sorted(session.scalars(names))) or "none"
        raise NotFound(f"{request.device} has no workload {request.workload!r}; it has: {known}")
    session.add(
        tables.RawRequest(
            id=request.request,
            fleet=request.fleet,
            device=request.device,
            workload=request.workload,
            seconds=request.seconds,
            most_records=request.most_records,
            asked_s=request.issued_s,
        )
    )
    detail = {"request": request.request, "seconds": request.seconds, "most_records": request.most_records}
    subject = f"{request.fleet}/{request.device}/{request.workload}"
    audit.append(session, actor, "raw.asked", subject, detail, now_s=request.issued_s)


def new_id() -> str:
    """Return an id that no other request has: devices remember them, so that none is carried out twice."""
    return f"raw-{secrets.token_hex(8)}"


def due(session: Session, fleets: Collection[str]) -> Sequence[tables.RawRequest]:
    """Return the requests of these fleets that no broker has yet."""
    table = tables.RawRequest
    query = select(table).where(table.fleet.in_(fleets), table.published_s.is_(None), table.ended_s.is_(None))
    return session.scalars(query.order_by(table.asked_s)).all()


def get(session: Session, request: str) -> tables.RawRequest:
    """Return a request.

    Raises:
        NotFound: No such request.
    """
    row = session.get(tables.RawRequest, request)
    if row is None:
        raise NotFound(f"no request {request!r}: its records are kept for a day")
    return row


def end(session: Session, request: str, reason: str, detail: str, *, now_s: float) -> None:
    """Note why a request has ended."""
    row = session.get(tables.RawRequest, request)
    if row is not None and row.ended_s is None:
        row.ended_s, row.reason, row.detail = now_s, reason, detail


def add_part(session: Session, part: RawPart, *, now_s: float) -> bool:
    """Keep a part of an open request, once; return whether it was wanted and new.

    Raises:
        MalformedMessage: Its records cannot be unpacked.
    """
    row = session.get(tables.RawRequest, part.request)
    said = (part.fleet, part.device, part.workload)
    if row is None or row.ended_s is not None or (row.fleet, row.device, row.workload) != said:
        return False
    if session.get(tables.RawPart, (part.request, part.part)) is not None:
        return False
    unpack_records(part)
    session.add(tables.RawPart(request=part.request, part=part.part, document=part.model_dump(mode="json")))
    if part.last:
        end(session, part.request, part.reason or "over", part.detail, now_s=now_s)
    session.flush()
    return True


def records(session: Session, request: str) -> list[dict[str, Any]]:
    """Return what came back so far, in the device's order."""
    query = select(tables.RawPart).where(tables.RawPart.request == request).order_by(tables.RawPart.part)
    parts = [RawPart.model_validate(row.document) for row in session.scalars(query)]
    return [record for part in parts for record in unpack_records(part)]


def prune(session: Session, *, now_s: float) -> int:
    """Delete requests older than a day and what came back; return how many requests."""
    old = session.scalars(select(tables.RawRequest.id).where(tables.RawRequest.asked_s < now_s - KEPT_S)).all()
    session.execute(delete(tables.RawPart).where(tables.RawPart.request.in_(old)))
    session.execute(delete(tables.RawRequest).where(tables.RawRequest.id.in_(old)))
    return len(old)
