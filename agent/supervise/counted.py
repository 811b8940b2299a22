"""Counts of one interval: of the workers that served one bundle, and of the workload's lane.

Decides: how lines are merged, that names from outside are bounded, and what is told at a resolution. Leaves out: which
bundle a line belongs to (`tally.py`).
"""

from collections.abc import Mapping
from typing import Any

from agent.supervise.budget import Resolution, named
from wire.signed import SignedSketch, unpacked
from wire.sketch import Sketch, SketchData
from wire.telemetry import OTHER, WorkloadMetrics

MOST_CLASSES = 256
MOST_REASONS = 64
MOST_INPUTS = 64

WORKER_TIMES = ("latency_ms", "pre_ms", "infer_ms", "post_ms")
LANE_TIMES = ("total_ms", "wait_ms")
ALL_TIMES = WORKER_TIMES + LANE_TIMES
_WHOLE = ("latency_ms", "total_ms")
_LANE_COUNTS = ("arrived", "answered", "lost", "deadlines", "deadline_misses", "held")


class BundleCounts:
    """What the workers of one bundle counted."""

    def __init__(self) -> None:
        self.queries: int = 0
        self.times: dict[str, Sketch] = {}
        self._errors: int = 0
        self._reasons: dict[str, int] = {}
        self._predictions: dict[str, int] = {}
        self._confidence: list[int] = []
        self._values = SignedSketch()
        self._inputs: dict[str, SignedSketch] = {}
        self._rss_bytes: int | None = None
        self._pss_bytes: int | None = None

    def add(self, metrics: WorkloadMetrics) -> None:
        """Add one line of a worker."""
        self.queries += metrics.queries
        self._errors += metrics.errors
        self._rss_bytes = metrics.worker_rss_bytes or self._rss_bytes
        self._pss_bytes = metrics.worker_pss_bytes or self._pss_bytes
        _count(self._reasons, metrics.errors_by_reason, MOST_REASONS)
        _count(self._predictions, metrics.predictions, MOST_CLASSES)
        _merge(self.times, metrics, WORKER_TIMES)
        self._add_distributions(metrics)

    def told(self, resolution: Resolution) -> dict[str, Any]:
        """Return the fields of a message."""
        names = list(self._inputs)[: resolution.features]
        return {
            "queries": self.queries,
            "errors": self._errors,
            "errors_by_reason": named(self._reasons, resolution.reasons, resolution.name),
            "predictions": named(self._predictions, resolution.labels, resolution.name),
            "confidence": tuple(self._confidence) if resolution.labels else (),
            "values": self._values.packed(resolution.inputs) if resolution.inputs and self._values.count else None,
            "inputs": {name: self._inputs[name].packed(resolution.inputs) for name in names},
            "worker_rss_bytes": self._rss_bytes,
            "worker_pss_bytes": self._pss_bytes,
            **_times(self.times, resolution),
        }

    def _add_distributions(self, metrics: WorkloadMetrics) -> None:
        self._confidence += [0] * (len(metrics.confidence) - len(self._confidence))
        for place, count in enumerate(metrics.confidence):
            self._confidence[place] += count
        if metrics.values is not None:
            self._values.merge(unpacked(metrics.values))
        for name, data in metrics.inputs.items():
            if name in self._inputs or len(self._inputs) < MOST_INPUTS:
                self._inputs.setdefault(name, SignedSketch()).merge(unpacked(data))


class LaneTotals:
    """What the workload's lane counted, over all bundles."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._lost: dict[str, int] = {}
        self._sinks: dict[str, int] = {}
        self._times: dict[str, Sketch] = {}
        self._depth: int = 0
        self._pss_bytes: int | None = None

    def add(self, metrics: WorkloadMetrics) -> None:
        """Add one line of the gateway."""
        _count(self._counts, {name: getattr(metrics, name) for name in _LANE_COUNTS}, len(_LANE_COUNTS))
        _count(self._lost, metrics.lost_by_reason, MOST_REASONS)
        _count(self._sinks, metrics.sinks_by_reason, MOST_REASONS)
        _merge(self._times, metrics, LANE_TIMES)
        self._depth = max(self._depth, metrics.queue_depth)
        self._pss_bytes = metrics.gateway_pss_bytes or self._pss_bytes

    def told(self, resolution: Resolution) -> dict[str, Any]:
        """Return the fields of a message."""
        return {
            **self._counts,
            "lost_by_reason": named(self._lost, resolution.reasons, resolution.name),
            "sinks_by_reason": named(self._sinks, resolution.reasons, resolution.name),
            "queue_depth": self._depth,
            "gateway_pss_bytes": self._pss_bytes,
            **_times(self._times, resolution),
        }


def _count(counts: dict[str, int], more: Mapping[str, int], most: int) -> None:
    """Add `more` to `counts`; names beyond `most` of them go together into `other`, since names come from outside."""
    for name, count in more.items():
        known = name if name in counts or len(counts) < most else OTHER
        counts[known] = counts.get(known, 0) + count


def _merge(sketches: dict[str, Sketch], metrics: WorkloadMetrics, names: tuple[str, ...]) -> None:
    for name in names:
        data: SketchData | None = getattr(metrics, name)
        if data is not None:
            sketches.setdefault(name, Sketch()).merge(data)


def _times(sketches: Mapping[str, Sketch], resolution: Resolution) -> dict[str, Any]:
    """Return the fields of times; phases that are not told at this resolution are left out."""
    buckets = {name: resolution.latency if name in _WHOLE else resolution.phases for name in sketches}
    return {name: sketches[name].fields(most) for name, most in buckets.items() if most}
