"""Counters over what devices told since this process began: queries, errors, restarts, a histogram of latencies.

Decides: the histogram's bounds, and which bucket a sketch's bucket goes to. Leaves out: labels (`classes.py`) and how
they are shown. An interval is counted once: whoever calls has stored it, and told repetitions apart.

>>> totals = Totals(); totals.rows()
{}
"""

import threading
from bisect import bisect_left
from dataclasses import dataclass, field, replace

from wire.buckets import middle
from wire.sketch import SketchData
from wire.telemetry import WorkloadMetrics

BOUNDS_S = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
)  # fmt: skip
"""Upper bounds of the histogram [s]; one more bucket is open."""
MOST_ROWS = 10_000
"""Combinations of fleet, class and workload: more than any fleet files make."""

Labels = tuple[str, str, str]
"""Fleet, class, workload."""


@dataclass
class Row:
    """What was counted for one combination of labels; `latencies` has one more place than there are bounds."""

    queries: int = 0
    errors: int = 0
    lost: int = 0
    restarts: int = 0
    latencies: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS_S) + 1))
    latency_sum_s: float = 0.0


class Totals:
    """The counters. Safe to use from several threads."""

    def __init__(self) -> None:
        self._rows: dict[Labels, Row] = {}
        self._lock = threading.Lock()

    def add(self, labels: Labels, metrics: WorkloadMetrics) -> None:
        """Count one workload's interval."""
        with self._lock:
            if labels not in self._rows and len(self._rows) >= MOST_ROWS:
                return
            row = self._rows.setdefault(labels, Row())
            row.queries += metrics.queries
            row.errors += metrics.errors
            row.lost += metrics.lost
            row.restarts += metrics.restarts
            if metrics.latency_ms is not None:
                _count(row, metrics.latency_ms)

    def rows(self) -> dict[Labels, Row]:
        """Return a copy of all counters."""
        with self._lock:
            return {labels: replace(row, latencies=list(row.latencies)) for labels, row in self._rows.items()}


def _count(row: Row, sketch: SketchData) -> None:
    width = sketch.log_gamma
    row.latencies[0] += sketch.zeros
    for index, count in sketch.counts().items():
        row.latencies[bisect_left(BOUNDS_S, middle(index, width) / 1e3)] += count
    row.latency_sum_s += max(0.0, sketch.total) / 1e3
