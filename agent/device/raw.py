"""Single queries told on request: a signed request comes in, records go out in parts, and it ends by itself.

Decides: which request is carried out (for this device, in time, not seen before, a workload that is served, one at a
time) and that it ends, whatever the gateway does. Leaves out: what is recorded (`agent/gateway/raw.py`). Nothing of it
outlives the agent: after a restart a request is forgotten.
"""

import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from agent.loop import Loop, Timer
from wire.raw import LONGEST_S, MOST_PACKED, MOST_PARTS, RawPart, RawRequest, pack_records

log = logging.getLogger(__name__)

Line = Mapping[str, Any]
GRACE_S = 3.0
"""After its time a request is ended here, where the gateway does not say so."""
MOST_REMEMBERED = 64
VALID_S = 2 * LONGEST_S
"""A request must expire so soon after it was issued: ids of older ones may be forgotten."""


class Recording(Protocol):
    """What is needed of the gateway's process."""

    def raw(self, workload: str, seconds: float, most: int, heard: Callable[[Line], None]) -> None:
        """Have single queries told, in lines with `records` and `ended`."""


@dataclass(frozen=True)
class _Refusal:
    reason: str
    detail: str


@dataclass
class _Open:
    request: RawRequest
    parts: int = 0
    records: int = 0


class RawTelling:
    """One request at a time. All methods belong to the consumer thread."""

    def __init__(
        self,
        who: tuple[str, str],
        loop: Loop,
        gateway: Recording,
        serves: Callable[[str], bool],
        send: Callable[[RawPart], object],
    ) -> None:
        """Wait for a request.

        Args:
            who: Fleet and device.
            loop: The consumer thread's.
            gateway: Records.
            serves: Whether a workload is served now.
            send: Publishes a part; while the broker is away it is lost.
        """
        self._who = who
        self._loop = loop
        self._gateway = gateway
        self._serves = serves
        self._send = send
        self._open: _Open | None = None
        self._timer: Timer | None = None
        self._seen: deque[str] = deque(maxlen=MOST_REMEMBERED)

    def arrived(self, request: RawRequest, now_s: float) -> None:
        """Carry out a request whose signature held, or say why not.

        Args:
            request: As signed.
            now_s: Trusted time [s since 1970].
        """
        if (request.fleet, request.device) != self._who or request.request in self._seen:
            return  # meant for another device, or delivered twice: nobody waits for an answer
        self._seen.append(request.request)
        refusal = self._refusal(request, now_s)
        if refusal is not None:
            log.warning("request %s for single queries is refused: %s", request.request, refusal.detail)
            self._end(_Open(request), refusal.reason, refusal.detail)
            return
        log.info("telling single queries of %s for %g s", request.workload, request.seconds)
        self._open = _Open(request)
        self._timer = self._loop.after(request.seconds + GRACE_S, self._over)
        self._gateway.raw(request.workload, request.seconds, request.most_records, self._heard)

    def _refusal(self, request: RawRequest, now_s: float) -> _Refusal | None:
        if now_s > request.expires_s:
            late_s = now_s - request.expires_s
            return _Refusal("expired", f"it was good until {late_s:.0f} s ago, by this device's clock")
        if request.expires_s - request.issued_s > VALID_S:
            return _Refusal("valid_too_long", f"it is good for longer than {VALID_S:.0f} s, and could be repeated")
        if self._open is not None:
            return _Refusal("busy", f"request {self._open.request.request} is being carried out: wait for its end")
        if not self._serves(request.workload):
            return _Refusal("not_served", f"no worker of workload {request.workload!r} is ready on this device")
        return None

    def _heard(self, line: Line) -> None:
        telling = self._open
        if telling is None or line.get("workload") != telling.request.workload:
            return
        records = [record for record in line.get("records") or () if isinstance(record, dict)]
        records = records[: telling.request.most_records - telling.records]
        for start in range(0, len(records), MOST_PACKED):
            self._tell(telling, records[start : start + MOST_PACKED])
        if line.get("ended"):
            self._end(telling, str(line["ended"])[:64], "")

    def _over(self) -> None:
        if self._open is not None:
            self._end(self._open, "over", "the gateway did not say so: records may be missing")

    def _tell(self, telling: _Open, records: Sequence[Line]) -> None:
        if telling.parts < MOST_PARTS - 1:
            self._part(telling, {"records": len(records), "data": pack_records(records)})
            telling.records += len(records)

    def _end(self, telling: _Open, why: str, detail: str) -> None:
        self._part(telling, {"records": 0, "last": True, "reason": why, "detail": detail})
        if telling is self._open:
            self._open = None
            if self._timer is not None:
                self._timer.cancel()

    def _part(self, telling: _Open, fields: Mapping[str, Any]) -> None:
        asked = telling.request
        names = {name: getattr(asked, name) for name in ("fleet", "device", "workload", "request")}
        self._send(RawPart.model_validate({**names, "part": telling.parts, **fields}))
        telling.parts += 1
