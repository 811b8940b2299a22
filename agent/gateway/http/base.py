"""What the HTTP interface needs of lanes, and the words of ASGI.

Decides: the interface. Leaves out: lanes themselves (`agent/gateway/lane.py`).
"""

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from agent.gateway.base import Intake

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


@dataclass(frozen=True)
class Described:
    """A workload as applications see it."""

    workload: str
    ready: bool
    """Whether a model answers now."""
    bundle: str | None = None
    """Digest of the bundle that answers; null: none does."""
    model: str | None = None
    variant: str | None = None
    pipeline: Mapping[str, Any] | None = None
    """Pre- and post-processing as the bundle's manifest has them: what a query must look like; null: not known."""

    def document(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)


class Asked(Intake, Protocol):
    """A lane that applications may ask. A cancelled future is a query that nobody waits for any more."""

    def describe(self) -> Described:
        """Return what serves now."""


Lanes = Mapping[str, Asked]
"""Workload -> its lane. Looked at anew for every request."""
