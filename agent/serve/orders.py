"""What a serving worker is told. Light: the control process may import it.

python -m agent.serve.worker ORDER.json
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agent.measure.orders import WorkerOrder, refused
from wire.base import Name


class ReplaySource(BaseModel):
    """The bundle's golden inputs again and again, `rate_hz` a second."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["replay"] = "replay"
    rate_hz: float = Field(default=2.0, gt=0, le=100_000)


class NoSource(BaseModel):
    """No queries but those that are asked over stdin."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["none"] = "none"


class ServeOrder(WorkerOrder):
    """Serve one bundle until told to stop."""

    workload: Name = "main"
    source: Annotated[ReplaySource | NoSource, Field(discriminator="kind")] = ReplaySource()
    metrics_interval_s: float = Field(default=10.0, gt=0, le=3600)


def read_serve_order(content: bytes | str) -> ServeOrder:
    """Return the order that `content` holds.

    Raises:
        ConfigurationError: Not an order; the text names the first faulty field.
    """
    try:
        return ServeOrder.model_validate_json(content)
    except ValidationError as exc:
        raise refused(exc) from exc
