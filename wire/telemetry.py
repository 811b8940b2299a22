"""Metrics that a device sends per interval and workload: mergeable sketches, never raw queries.

Decides: what is told, and what counts as an error. Leaves out: how it is made to fit (`agent/supervise/budget.py`).
`queries` reached a worker; `errors` are those of them that it could not answer: what a bundle is judged by. `lost`
never reached an answer for reasons that lie outside the bundle (a full queue, a timeout, a malformed reading): the
gateway counts it. No query is in both.
"""

from typing import Annotated, Any

from pydantic import Field, SerializerFunctionWrapHandler, StringConstraints, model_serializer

from wire.base import Message, Name
from wire.canonical import Digest
from wire.sketch import PackedSketch, SketchData, only_given

MOST_BYTES = 2048
"""Of one workload's metrics, as JSON: at most this over one interval, however much was counted."""
OTHER = "other"
"""Stands for the names that were left out of a mapping of counts."""

Count = Annotated[int, Field(ge=0)]
InputName = Annotated[str, StringConstraints(min_length=1, max_length=64)]


class WorkloadMetrics(Message):
    """One workload over one interval; a bundle that ended within it has an entry of its own. What is zero is not sent.

    `latency_ms` is the worker's time for a query, split in `pre_ms`, `infer_ms` and `post_ms`; `total_ms` goes from
    arrival to answer and `wait_ms` until a worker began. `confidence` counts answers in bins of equal width from 0 to
    1. `values` are those of a regression; `inputs` sampled queries, per feature of a table, else `mean`, `deviation`,
    `smallest` and `largest` of a query.
    `sinks_by_reason`: tries to deliver predictions that failed, and predictions that were dropped; they are answered
    queries, so they are in no other count.
    `reduced`: how many steps resolution was given up so that it fits.
    """

    workload: Name
    active: Digest | None = None
    queries: Count = 0
    errors: Count = 0
    errors_by_reason: dict[str, int] = Field(default_factory=dict, max_length=64)
    restarts: Count = 0
    latency_ms: SketchData | None = None
    pre_ms: SketchData | None = None
    infer_ms: SketchData | None = None
    post_ms: SketchData | None = None
    worker_rss_bytes: Count | None = None
    worker_pss_bytes: Count | None = None
    predictions: dict[str, int] = Field(default_factory=dict, max_length=256)
    confidence: tuple[Count, ...] = Field(default=(), max_length=100)
    values: PackedSketch | None = None
    inputs: dict[InputName, PackedSketch] = Field(default_factory=dict, max_length=64)
    arrived: Count = 0
    answered: Count = 0
    lost: Count = 0
    lost_by_reason: dict[str, int] = Field(default_factory=dict, max_length=64)
    sinks_by_reason: dict[str, int] = Field(default_factory=dict, max_length=64)
    total_ms: SketchData | None = None
    wait_ms: SketchData | None = None
    deadlines: Count = 0
    deadline_misses: Count = 0
    queue_depth: Count = 0
    held: Count = 0
    gateway_pss_bytes: Count | None = None
    reduced: Count = 0

    @model_serializer(mode="wrap")
    def _only_given(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return only_given(self, dump)


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
    next_s: float | None = Field(default=None, gt=0)
    """When the next ones are due [s]; null: after `interval_s`."""
