"""What the gateway is told at its start. It comes over its stdin, secrets and all, and is never written to a disk."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from agent.serve.settings import BrokerConfig, ServeConfig


class GatewayOrder(BaseModel):
    """Serve the device's workloads."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    fleet: str
    device: str
    boot_id: str
    state_dir: Path
    """The agent's; the gateway keeps its own in `gateway/` there."""
    serve: ServeConfig
    broker: BrokerConfig
    """Of sensors and predictions."""
    password: str | None = None
    metrics_interval_s: float = 1.0
