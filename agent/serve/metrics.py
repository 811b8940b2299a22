"""What a serving worker counts, and how it is told: sketches and counts per interval, never a query.

Decides: what is counted, and that labels and reasons are bounded. Leaves out: sending (the control process).
"""

from collections import Counter
from dataclasses import dataclass

from agent.inference.post import Answer
from agent.measure.memory import rss_bytes
from wire.sketch import Sketch
from wire.telemetry import WorkloadMetrics

MOST_LABELS = 255
OTHER_LABEL = "other"
"""The labels after the first 255 seen in an interval are counted here: a message holds 256."""


@dataclass(frozen=True)
class QueryTimes:
    """One answered query [ns]."""

    pre: int
    infer: int
    post: int

    @property
    def total(self) -> int:
        return self.pre + self.infer + self.post


class ServingMetrics:
    """Counts one interval after the other."""

    def __init__(self, workload: str, active: str) -> None:
        self._workload = workload
        self._active = active
        self._start()

    def answered(self, answer: Answer, times: QueryTimes) -> None:
        """Count an answered query."""
        self._queries += 1
        for sketch, spent_ns in zip(self._sketches, (times.total, times.pre, times.infer, times.post), strict=True):
            sketch.add(spent_ns / 1e6)
        if answer.classes:
            label = answer.labels[0] if answer.labels else str(answer.classes[0])
            known = label in self._predictions or len(self._predictions) < MOST_LABELS
            self._predictions[label if known else OTHER_LABEL] += 1

    def refused(self, reason: str) -> None:
        """Count a query that could not be answered."""
        self._queries += 1
        self._errors[reason] += 1

    def take(self) -> WorkloadMetrics:
        """Return the interval's metrics and start the next one."""
        latency, pre, infer, post = (sketch.data() if sketch.count else None for sketch in self._sketches)
        metrics = WorkloadMetrics.model_validate(
            {
                "workload": self._workload,
                "active": self._active,
                "queries": self._queries,
                "errors": self._errors.total(),
                "errors_by_reason": dict(self._errors),
                "latency_ms": latency,
                "pre_ms": pre,
                "infer_ms": infer,
                "post_ms": post,
                "worker_rss_bytes": rss_bytes(),
                "predictions": dict(self._predictions),
            }
        )
        self._start()
        return metrics

    def _start(self) -> None:
        self._queries = 0
        self._errors: Counter[str] = Counter()
        self._predictions: Counter[str] = Counter()
        self._sketches = [Sketch() for _ in range(4)]
