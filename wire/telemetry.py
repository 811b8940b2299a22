"""Metrics that a device sends per interval and workload: mergeable sketches, never raw queries."""

from pydantic import Field

from wire.base import Message, Name
from wire.canonical import Digest
from wire.sketch import SketchData


class WorkloadMetrics(Message):
    """One workload over one interval."""

    workload: Name
    active: Digest | None = None
    queries: int = Field(default=0, ge=0)
    errors: int = Field(default=0, ge=0)
    errors_by_reason: dict[str, int] = Field(default_factory=dict, max_length=64)
    restarts: int = Field(default=0, ge=0)
    latency_ms: SketchData | None = None
    pre_ms: SketchData | None = None
    infer_ms: SketchData | None = None
    post_ms: SketchData | None = None
    worker_rss_bytes: int | None = Field(default=None, ge=0)
    predictions: dict[str, int] = Field(default_factory=dict, max_length=256)


class Metrics(Message):
    """One device over one interval."""

    fleet: Name
    device: Name
    boot_id: str = Field(max_length=64)
    seq: int = Field(ge=0)
    at_s: float = Field(ge=0)
    interval_s: float = Field(gt=0)
    workloads: tuple[WorkloadMetrics, ...] = Field(default=(), max_length=64)
    agent_pss_bytes: int | None = Field(default=None, ge=0)
    memory_available_bytes: int | None = Field(default=None, ge=0)
    temperature_celsius: float | None = None
    load_1m: float | None = None
    throttled: bool | None = None
