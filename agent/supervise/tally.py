"""What a workload's workers and its lane counted since the last metrics message, merged over lines and restarts.

Decides: which bundle a count belongs to, and how the budget is shared. Leaves out: what is kept of a line
(`counted.py`), how much of it is told (`budget.py`). Two workers may count at the same time, while one bundle follows
another: each bundle has counts of its own, since a rollout judges bundles.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

from pydantic import ValidationError

from agent.supervise.budget import Resolution, fit
from agent.supervise.counted import ALL_TIMES, BundleCounts, LaneTotals
from wire.buckets import RELATIVE_ERROR_RATIO
from wire.sketch import Sketch
from wire.telemetry import MOST_BYTES, WorkloadMetrics

MOST_BUNDLES = 16
FORMER_BYTES = 512
"""Told of a bundle that ended within the interval. With more than two of them the budget is exceeded."""


class Tally:
    """Merges the metrics lines of one workload."""

    def __init__(self, workload: str) -> None:
        self._workload = workload
        self._clear()

    @property
    def queries(self) -> int:
        return sum(each.queries for each in self._bundles.values())

    def add(self, fields: Any) -> WorkloadMetrics | None:
        """Add one worker's line; return it, or None where it cannot be read."""
        metrics = self._read(fields)
        if metrics is None or (metrics.active not in self._bundles and len(self._bundles) >= MOST_BUNDLES):
            return None
        self._bundles.setdefault(metrics.active, BundleCounts()).add(metrics)
        return metrics

    def add_gateway(self, fields: Any) -> None:
        """Add one line of the workload's lane; one that cannot be read is dropped."""
        metrics = self._read(fields)
        if metrics is not None:
            self._lane.add(metrics)

    def restarted(self) -> None:
        """Count a worker that crashed and is started again."""
        self._restarts += 1

    def take(self, active: str | None) -> tuple[WorkloadMetrics, ...]:
        """Return what was counted since the last call, and begin again.

        Args:
            active: Digest of the bundle that is served now: what the lane counted is told with it, and what a worker
                counted that did not say of which bundle.
        Returns:
            The present bundle's metrics, then those of bundles that ended within the interval.
        """
        if active not in self._bundles and None in self._bundles:
            self._bundles[active] = self._bundles.pop(None)
        present = self._bundles.pop(active, None) or BundleCounts()
        former = [fit(partial(self._of_bundle, *each), FORMER_BYTES) for each in self._bundles.items()]
        most_bytes = max(MOST_BYTES - FORMER_BYTES * len(former), MOST_BYTES // 2)
        now = fit(partial(self._of_present, active, present), most_bytes)
        self._clear()
        return now, *former

    def quantile(self, name: str, fraction: float, smallest_count: int) -> float | None:
        """Return a quantile of what was counted, over all bundles; None with fewer than `smallest_count` values."""
        merged = Sketch()
        for counted in self._bundles.values():
            if name in counted.times:
                merged.merge(counted.times[name])
        return merged.quantile(fraction) if merged.count >= max(1, smallest_count) else None

    def _read(self, fields: Any) -> WorkloadMetrics | None:
        """Return a line whose sketches can be merged."""
        try:
            metrics = WorkloadMetrics.model_validate({**fields, "workload": self._workload})
        except (ValidationError, TypeError):
            return None
        sketches = [getattr(metrics, name) for name in ALL_TIMES]
        fits = all(each is None or each.relative_error_ratio == RELATIVE_ERROR_RATIO for each in sketches)
        return metrics if fits else None

    def _of_bundle(self, bundle: str | None, counted: BundleCounts, resolution: Resolution) -> Mapping[str, Any]:
        return self._named(bundle, counted.told(resolution))

    def _of_present(self, active: str | None, counted: BundleCounts, resolution: Resolution) -> Mapping[str, Any]:
        counts = {**counted.told(resolution), **self._lane.told(resolution), "restarts": self._restarts}
        return self._named(active, counts)

    def _named(self, bundle: str | None, counts: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the fields of a message: what is zero or empty is not told."""
        return {"workload": self._workload, "active": bundle, **{name: each for name, each in counts.items() if each}}

    def _clear(self) -> None:
        self._bundles: dict[str | None, BundleCounts] = {}
        self._lane = LaneTotals()
        self._restarts: int = 0
