"""What a serving worker is told. Light: the control process may import it.

python -m agent.serve.worker ORDER.json
"""

from pydantic import Field, ValidationError

from agent.inference.order import WorkerOrder, refused
from wire.base import Name


class ServeOrder(WorkerOrder):
    """Serve one bundle until told to stop. Queries come over a channel, or over stdin."""

    workload: Name = "main"
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
