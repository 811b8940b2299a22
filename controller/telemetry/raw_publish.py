"""Requests for single queries on their way out: signed, published once, worthless soon after.

Decides: for how long a request is good. Leaves out: who asked (`raw_rows.py`).
"""

import time
from collections.abc import Callable, Collection
from typing import Protocol

from controller.mqtt import Publication
from controller.store import tables
from controller.store.database import Store
from controller.telemetry import raw_rows
from wire.raw import RawRequest
from wire.topics import Topics

VALID_S = 60.0
"""A request that a device gets later is refused: nobody waits for it any more."""
PUBLISH_S = 5.0


class Publisher(Protocol):
    """What is needed of the broker's client."""

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> Publication: ...


Seal = Callable[[RawRequest], str]


def publish_requests(store: Store, client: Publisher, seal: Seal, fleets: Collection[str], now_s: float) -> int:
    """Publish every request that no broker has; return how many were taken. One that waited too long ends.

    Args:
        store: The workspace's database.
        client: Of the fleets' broker, connected.
        seal: Request -> its signed envelope as text.
        fleets: Whose requests.
        now_s: Time [s since the epoch].
    """
    with store.read() as session:
        found = raw_rows.due(session, fleets)
    if not found:
        return 0
    late = [row for row in found if now_s - row.asked_s > VALID_S]
    sent = [
        (row, client.publish(Topics(row.fleet).raw(row.device), seal(_request(row)).encode()))
        for row in found
        if row not in late
    ]
    deadline = time.monotonic() + PUBLISH_S
    taken = [row for row, publication in sent if publication.wait(max(0.0, deadline - time.monotonic()))]
    with store.begin() as session:
        for row in taken:
            session.merge(row).published_s = now_s
        for row in late:
            raw_rows.end(session, row.id, "expired", "no process led the workspace in time", now_s=now_s)
    return len(taken)


def _request(row: tables.RawRequest) -> RawRequest:
    return RawRequest(
        fleet=row.fleet,
        device=row.device,
        workload=row.workload,
        request=row.id,
        seconds=row.seconds,
        most_records=row.most_records,
        issued_s=row.asked_s,
        expires_s=row.asked_s + VALID_S,
    )
