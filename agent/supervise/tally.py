"""What a workload's workers counted since the last metrics message, merged over lines and restarts."""

from typing import Any

from pydantic import ValidationError

from wire.sketch import Sketch, SketchData
from wire.telemetry import WorkloadMetrics

_SKETCHES = ("latency_ms", "pre_ms", "infer_ms", "post_ms")
MOST_CLASSES = 256


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
        self._rss_bytes = metrics.worker_rss_bytes or self._rss_bytes
        for name in _SKETCHES:
            sketch: SketchData | None = getattr(metrics, name)
            if sketch is not None:
                self._sketches.setdefault(name, Sketch(sketch.relative_error_ratio)).merge(sketch)
        for label, count in metrics.predictions.items():
            if label in self._predictions or len(self._predictions) < MOST_CLASSES:
                self._predictions[label] = self._predictions.get(label, 0) + count
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
