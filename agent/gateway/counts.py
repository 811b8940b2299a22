"""What a lane counts: queries as the world sees them, waiting included, and those that never reached an answer.

Decides: what is counted and that reasons are bounded. Leaves out: merging and sending (the control process).
A query is counted as refused either by the worker or here, never by both: the worker counts queries that it had and
could not answer (`bad_query`), the lane counts what never reached an answer of a worker (`timeout`, `queue_full`,
`dropped_newer`, `no_worker`, `worker_ended`, `too_large`, bad readings of a source). Only the worker's count is
`errors`, which the gates of a rollout look at; the lane's is `lost`: a noisy sensor says nothing of a bundle.
Light: neither numpy nor pydantic.

    counts.arrived(); counts.answered(total_ms=12.0, wait_ms=3.0, missed=False); line["gateway"] = counts.take()
"""

from typing import Any

from agent.device.vitals import OwnMemory
from wire.quantiles import QuantileSketch

MOST_REASONS = 64
OTHER_REASON = "other"
"""Reasons after the first 63 of an interval are counted here."""

_memory = OwnMemory()


class LaneCounts:
    """Counts one interval after the other; `take` ends one."""

    def __init__(self) -> None:
        self._start()

    def _start(self) -> None:
        self._arrived: int = 0
        self._answered: int = 0
        self._deadlines: int = 0
        self._deadline_misses: int = 0
        self._depth: int = 0
        self._held: int = 0
        self._lost: dict[str, int] = {}
        self._sinks: dict[str, int] = {}
        self._total_ms, self._wait_ms = QuantileSketch(), QuantileSketch()

    def arrived(self) -> None:
        """Count a query that was offered."""
        self._arrived += 1

    def answered(self, total_ms: float, wait_ms: float, missed: bool | None = None) -> None:
        """Count an answer.

        Args:
            total_ms: From arrival to answer, waiting included [ms].
            wait_ms: From arrival until a worker began [ms].
            missed: Whether it came after its deadline; null: it had none.
        """
        self._answered += 1
        self._total_ms.add(max(0.0, total_ms))
        self._wait_ms.add(max(0.0, wait_ms))
        if missed is not None:
            self._deadlines += 1
            self._deadline_misses += missed

    def refused(self, reason: str) -> None:
        """Count a query, or an input that did not become one, that no worker answered; and why."""
        _count(self._lost, reason)

    def undelivered(self, reason: str) -> None:
        """Count a try to deliver predictions that failed, or a prediction that was dropped: its query was answered."""
        _count(self._sinks, reason)

    def missed_deadline(self) -> None:
        """Count a deadline of a paced query that passed without any answer."""
        self._deadlines += 1
        self._deadline_misses += 1

    def depth(self, waiting: int) -> None:
        """Note how many queries wait now; the largest number is told."""
        if waiting > self._depth:
            self._depth = waiting

    def held(self, queries: int) -> None:
        """Count queries that waited through a switch of bundles."""
        self._held += queries

    def take(self) -> dict[str, Any]:
        """Return the interval's counts as JSON values, zeros left out, and start the next one."""
        counted: dict[str, Any] = {
            "arrived": self._arrived,
            "answered": self._answered,
            "lost": sum(self._lost.values()),
            "lost_by_reason": self._lost,
            "sinks_by_reason": self._sinks,
            "deadlines": self._deadlines,
            "deadline_misses": self._deadline_misses,
            "queue_depth": self._depth,
            "held": self._held,
            "total_ms": self._total_ms.fields() if self._answered else None,
            "wait_ms": self._wait_ms.fields() if self._answered else None,
            "gateway_pss_bytes": _memory.pss_bytes(),
        }
        self._start()
        return {name: value for name, value in counted.items() if value}


def _count(counts: dict[str, int], reason: str) -> None:
    """Count a reason; those after the first 63 of an interval are counted together."""
    name = reason if reason in counts or len(counts) < MOST_REASONS - 1 else OTHER_REASON
    counts[name] = counts.get(name, 0) + 1
