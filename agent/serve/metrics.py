"""What a serving worker counts, and how it is told: sketches and counts per interval, never a query.

Decides: what is counted, and that labels and reasons are bounded. Leaves out: sending (the control process), and what
never reached a worker (`agent/gateway/counts.py`).
Of several boxes the best one counts, of a map the largest class; an answer without a class is counted as a query alone.
It runs once a query: plain numbers and dictionaries, no message is made before the interval ends.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from agent.device.vitals import OwnMemory
from agent.inference.post import Answer
from agent.measure.memory import rss_bytes
from agent.serve.drift import InputSketches
from wire.quantiles import QuantileSketch
from wire.signed import SignedSketch

MOST_LABELS = 255
OTHER_LABEL = "other"
"""The labels after the first 255 seen in an interval are counted here: a message holds 256."""
CONFIDENCE_BINS = 10
"""Of equal width, from 0 to 1: how sure the best class was."""


@dataclass(frozen=True, slots=True)
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
        self._inputs = InputSketches()
        self._memory = OwnMemory()
        self._start()

    def answered(self, answer: Answer, times: QueryTimes, query: NDArray[Any] | None = None) -> None:
        """Count an answered query.

        Args:
            answer: Its answer.
            times: What it took.
            query: As it came, before pre-processing; null: its inputs are not looked at.
        """
        self._queries += 1
        self._latency.add(times.total / 1e6)
        self._pre.add(times.pre / 1e6)
        self._infer.add(times.infer / 1e6)
        self._post.add(times.post / 1e6)
        if query is not None:
            self._inputs.look(query)
        if answer.classes:
            self._classified(answer)
        elif answer.values:
            # One output a query, in turns: a model with many costs no more than one.
            self._values.add(answer.values[self._queries % len(answer.values)])

    def refused(self, reason: str) -> None:
        """Count a query that reached the worker and could not be answered."""
        self._queries += 1
        self._errors[reason] += 1

    def take(self) -> dict[str, Any]:
        """Return the interval as fields of `WorkloadMetrics`, empty ones left out, and start the next one."""
        timed = {"latency_ms": self._latency, "pre_ms": self._pre, "infer_ms": self._infer, "post_ms": self._post}
        optional: dict[str, Any] = {
            "errors_by_reason": dict(self._errors),
            "predictions": self._predictions,
            "confidence": self._confidence if any(self._confidence) else None,
            "values": self._values.packed() if self._values.count + self._values.missing else None,
            "inputs": self._inputs.take(),
            "worker_pss_bytes": self._memory.pss_bytes(),
            **{name: sketch.fields() for name, sketch in timed.items() if sketch.count},
        }
        counted = {
            "workload": self._workload,
            "active": self._active,
            "queries": self._queries,
            "errors": self._errors.total(),
            "worker_rss_bytes": rss_bytes(),
        }
        self._start()
        return {**counted, **{name: value for name, value in optional.items() if value}}

    def _classified(self, answer: Answer) -> None:
        label = answer.labels[0] if answer.labels else str(answer.classes[0])
        predictions = self._predictions
        if label not in predictions and len(predictions) >= MOST_LABELS:
            label = OTHER_LABEL
        predictions[label] = predictions.get(label, 0) + 1
        sure = answer.values[0]
        if answer.mask is None and sure == sure:  # a share of pixels is none, nor is what is no number
            self._confidence[int(min(max(sure, 0.0), 0.999) * CONFIDENCE_BINS)] += 1

    def _start(self) -> None:
        self._queries = 0
        self._errors: Counter[str] = Counter()
        self._predictions: dict[str, int] = {}
        self._confidence = [0] * CONFIDENCE_BINS
        self._latency, self._pre, self._infer, self._post = (QuantileSketch() for _ in range(4))
        self._values = SignedSketch()
