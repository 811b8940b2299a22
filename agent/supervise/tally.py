"""What a workload's workers counted since the last metrics message, merged over lines and restarts."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from wire.sketch import Sketch, SketchData
from wire.telemetry import WorkloadMetrics

_SKETCHES = ("latency_ms", "pre_ms", "infer_ms", "post_ms")
MOST_CLASSES = 256
MOST_REASONS = 64


class Tally:
    """Merges the metrics lines of one workload."""

    def __init__(self, workload: str) -> None:
        self._workload = workload
        self._rss_bytes: int | None = None
        self._clear()

    @property
    def queries(self) -> int:
        return self._queries

    def add(self, fields: Any) -> WorkloadMetrics | None:
        """Add one line's `workload_metrics`; return them, or None where they cannot be read."""
        try:
            metrics = WorkloadMetrics.model_validate({**fields, "workload": self._workload})
        except (ValidationError, TypeError):
            return None
        self._queries += metrics.queries
        self._errors += metrics.errors
        _count(self._reasons, metrics.errors_by_reason, MOST_REASONS)
        self._rss_bytes = metrics.worker_rss_bytes or self._rss_bytes
        for name in _SKETCHES:
            sketch: SketchData | None = getattr(metrics, name)
            if sketch is not None:
                self._sketches.setdefault(name, Sketch(sketch.relative_error_ratio)).merge(sketch)
        _count(self._predictions, metrics.predictions, MOST_CLASSES)
        return metrics

    def restarted(self) -> None:
        """Count a worker that crashed and is started again."""
        self._restarts += 1

    def take(self, active: str | None) -> WorkloadMetrics:
        """Return what was counted since the last call, and begin again."""
        metrics = WorkloadMetrics.model_validate(
            {
                "workload": self._workload,
                "active": active,
                "queries": self._queries,
                "errors": self._errors,
                "errors_by_reason": self._reasons,
                "restarts": self._restarts,
                "worker_rss_bytes": self._rss_bytes,
                "predictions": self._predictions,
                **{name: sketch.data() for name, sketch in self._sketches.items()},
            }
        )
        self._clear()
        return metrics

    def quantile(self, name: str, fraction: float, smallest_count: int) -> float | None:
        """Return a quantile of what was counted; None with fewer than `smallest_count` values."""
        sketch = self._sketches.get(name)
        return sketch.quantile(fraction) if sketch is not None and sketch.count >= smallest_count else None

    def _clear(self) -> None:
        self._queries = self._errors = self._restarts = 0
        self._rss_bytes = None
        self._sketches: dict[str, Sketch] = {}
        self._predictions: dict[str, int] = {}
        self._reasons: dict[str, int] = {}


def _count(counts: dict[str, int], more: Mapping[str, int], most: int) -> None:
    """Add `more` to `counts`; a name beyond `most` of them is left out, since names come from outside."""
    for name, count in more.items():
        if name in counts or len(counts) < most:
            counts[name] = counts.get(name, 0) + count
