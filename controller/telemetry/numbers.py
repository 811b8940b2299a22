"""A workload's newest metrics as numbers for people and programs: percentiles, shares, what was lost and why.

Decides: which numbers stand for a sketch. Leaves out: history, and how they are printed.
"""

from collections.abc import Sequence
from typing import Any

from wire.signed import SignedSketch, unpacked
from wire.sketch import Sketch, SketchData
from wire.telemetry import WorkloadMetrics

TIMES = ("total_ms", "wait_ms", "latency_ms", "pre_ms", "infer_ms", "post_ms")
"""From arrival to answer, waiting, the worker's whole time, its phases."""
PERCENTILES = {"p50_ms": 0.50, "p95_ms": 0.95, "p99_ms": 0.99}
_COUNTS = (
    "queries", "errors", "errors_by_reason", "restarts", "arrived", "answered", "lost", "lost_by_reason",
    "sinks_by_reason", "deadlines", "deadline_misses", "queue_depth", "held", "worker_rss_bytes", "worker_pss_bytes",
    "gateway_pss_bytes", "predictions", "reduced",
)  # fmt: skip


def newest(found: Sequence[WorkloadMetrics], workload: str, active: str | None) -> WorkloadMetrics | None:
    """Return a workload's entry of a message: of the bundle that is active, else of the first one told."""
    own = [each for each in found if each.workload == workload]
    return next((each for each in own if each.active == active), own[0] if own else None)


def workload_numbers(metrics: WorkloadMetrics) -> dict[str, Any]:
    """Return what one interval says of a workload, JSON values."""
    told = metrics.model_dump(mode="json", include=set(_COUNTS))
    return {
        **{name: told.get(name, getattr(metrics, name)) for name in _COUNTS},
        "deadline_miss_ratio": metrics.deadline_misses / metrics.deadlines if metrics.deadlines else None,
        "times": {name: percentiles(getattr(metrics, name)) for name in TIMES},
        "confidence": _confidence(metrics.confidence),
        "values": distribution(metrics.values),
        "inputs": {name: distribution(packed) for name, packed in metrics.inputs.items()},
    }


def percentiles(data: SketchData | None) -> dict[str, float | None]:
    """Return p50, p95 and p99 of a sketch that came over the network [ms]."""
    return {name: quantile(data, fraction) for name, fraction in PERCENTILES.items()}


def quantile(data: SketchData | None, fraction: float) -> float | None:
    """Return a latency [ms] from a sketch that came over the network, or None where it holds nothing."""
    if data is None or data.count == 0:
        return None
    sketch = Sketch(data.relative_error_ratio)
    sketch.merge(data)
    return sketch.quantile(fraction)


def distribution(packed: str | None) -> dict[str, Any] | None:
    """Return count, missing, mean, extremes and percentiles of a packed sketch; None where nothing was counted."""
    if packed is None:
        return None
    sketch = unpacked(packed)
    empty = sketch.count == 0
    return {
        "count": sketch.count,
        "missing": sketch.missing,
        "mean": None if empty else sketch.mean(),
        "smallest": sketch.minimum,
        "p05": _of(sketch, 0.05),
        "p50": _of(sketch, 0.50),
        "p95": _of(sketch, 0.95),
        "largest": sketch.maximum,
    }


def _of(sketch: SignedSketch, fraction: float) -> float | None:
    return sketch.quantile(fraction) if sketch.count else None


def _confidence(bins: Sequence[int]) -> dict[str, Any] | None:
    """Return the counts in bins from 0 to 1, and the mean as if all lay in the middle of their bin."""
    count = sum(bins)
    if count == 0:
        return None
    mean = sum(times * (place + 0.5) for place, times in enumerate(bins)) / count / len(bins)
    return {"counts": list(bins), "mean": mean}
