"""Ask a device for single queries and wait for them: through the process that leads, else by leading meanwhile.

Decides: how long is waited, and what a refusal means for who asked. Leaves out: printing.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from controller.deploy.fleet_files import FoundFleet, broker_settings
from controller.errors import Busy, ControllerError, NoDevice, NotFound
from controller.service import Service
from controller.store.database import Store
from controller.telemetry import raw_rows
from controller.telemetry.raw_publish import VALID_S
from controller.workspace import Workspace
from wire.raw import RawRequest

PATIENCE_S = 20.0
"""Beyond the time that was asked for: publishing, checking a signature on a small board, the last part."""
POLL_S = 0.25
_MEANS: dict[str, type[ControllerError]] = {"busy": Busy, "not_served": NotFound, "expired": NoDevice}
ENDS = ("over", "full")
"""Reasons of a request that was carried out."""


@dataclass(frozen=True)
class Collected:
    """What a device told. `ended` is `over` (the time) or `full` (the records); `detail` what was wrong with it."""

    request: str
    records: list[dict[str, Any]]
    ended: str
    detail: str


def new_request(fleet: str, device: str, workload: str, seconds: float, most_records: int) -> RawRequest:
    """Return a request for single queries, issued now."""
    now_s = time.time()
    return RawRequest(
        fleet=fleet,
        device=device,
        workload=workload,
        request=raw_rows.new_id(),
        seconds=seconds,
        most_records=most_records,
        issued_s=now_s,
        expires_s=now_s + VALID_S,
    )


def wait_for(store: Store, request: RawRequest, pause: Callable[[float], object] = time.sleep) -> Collected:
    """Wait until the device has told all, and return it.

    Args:
        store: The workspace's database; another process, or another thread, writes to it.
        request: As asked.
        pause: Waits some seconds.
    Raises:
        NoDevice: The device did not answer, or not in time.
        NotFound: It does not serve that workload.
        Busy: It answers another request.
    """
    deadline = time.monotonic() + request.seconds + PATIENCE_S
    while True:
        with store.read() as session:
            row = raw_rows.get(session, request.request)
            if row.ended_s is not None or time.monotonic() >= deadline:
                return _outcome(request, row.reason, row.detail, raw_rows.records(session, request.request))
        pause(POLL_S)


def lead_and_wait(workspace: Workspace, found: FoundFleet, request: RawRequest) -> Collected:
    """Lead the workspace until the device has told all; raises as `wait_for` does.

    Raises:
        Busy: Another process leads meanwhile.
        BrokerUnreachable: Nobody answers there.
    """
    with Service(workspace, broker_settings(found), [request.fleet]) as service:
        return wait_for(service.store, request, service.wait_changed)


def _outcome(request: RawRequest, reason: str | None, detail: str, found: list[dict[str, Any]]) -> Collected:
    if reason is None and not found:
        raise NoDevice(f"{request.device} does not answer: look at `controller fleet show {request.fleet}`")
    if reason is not None and reason not in ENDS:
        kind = _MEANS.get(reason, ControllerError)
        raise kind(f"{request.device} tells no single queries of {request.workload} ({reason}): {detail}")
    return Collected(request.request, found, reason or "over", detail or ("" if reason else "the last part is missing"))
