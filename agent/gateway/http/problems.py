"""What a request is refused with: reason code -> HTTP status, and the problem document of RFC 9457.

Decides: statuses, titles, and what may be tried again when. Leaves out: what the reasons mean
(`docs/reference/reasons.md`) and who gives them.

>>> Refused("queue_full", "16 queries wait").document()["status"]
429
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

RETRY_AFTER_S = 1


@dataclass(frozen=True)
class Kind:
    """A kind of problem. `again`: the same request may succeed a little later."""

    status: int
    title: str
    again: bool = False


KINDS = {
    "bad_request": Kind(400, "The request cannot be read"),
    "not_found": Kind(404, "There is no such thing here"),
    "method_not_allowed": Kind(405, "This is not done with that method"),
    "body_timeout": Kind(408, "The body did not arrive in time"),
    "too_large": Kind(413, "The body is too large"),
    "batch_too_long": Kind(413, "The batch took too long"),
    "query_out_of_memory": Kind(413, "The query takes too much memory"),
    "wrong_content_type": Kind(415, "The body is in none of the known forms"),
    "foreign_host": Kind(421, "The request names another host"),
    "bad_query": Kind(422, "The query does not fit the model"),
    "queue_full": Kind(429, "Too many queries wait", again=True),
    "worker_ended": Kind(500, "The worker ended while it answered", again=True),
    "internal_error": Kind(500, "The gateway failed"),
    "no_worker": Kind(503, "No model serves this workload now", again=True),
    "too_busy": Kind(503, "Too much is asked at the same time", again=True),
    "query_timeout": Kind(504, "No answer in time", again=True),
}
OTHER = Kind(500, "The query was not answered")


class Refused(Exception):
    """A request is answered with a problem document."""

    def __init__(self, reason: str, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.reason = reason
        self.kind = KINDS.get(reason, OTHER)
        self.headers = {**({"retry-after": str(RETRY_AFTER_S)} if self.kind.again else {}), **(headers or {})}

    def document(self) -> dict[str, Any]:
        """Return the problem document."""
        return {
            "type": f"urn:thresher:reason:{self.reason}",
            "title": self.kind.title,
            "status": self.kind.status,
            "detail": str(self),
            "reason": self.reason,
        }
