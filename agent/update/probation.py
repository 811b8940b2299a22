"""The probation of a bundle that has just begun to serve: no crash, and answers where there are questions.

Decides: when a probation is passed or failed. Leaves out: what follows (`machine.py`).
"""

from collections.abc import Callable

from agent.loop import Loop, Timer
from agent.supervise.serving import Serving
from agent.supervise.tally import Tally
from wire.statistics import fewest_samples
from wire.telemetry import WorkloadMetrics
from wire.update import Limits, ReportedError

GRACE_S = 10.0
"""How much longer than its probation a worker may take for its first answer: slow sources, busy boards."""

LEAST_P95_SAMPLES = fewest_samples(0.95)
"""Below it the largest of n values may lie under the true 95th percentile."""

Ended = Callable[[ReportedError | None], None]


class Probation:
    """One probation under way. `ended(error)` is called once, with null when it was passed."""

    def __init__(self, loop: Loop, serving: Serving, seconds: float, ended: Ended) -> None:
        self._loop = loop
        self._serving = serving
        self._seconds = seconds
        self._ended: Ended | None = ended
        self._tally = Tally("probation")
        self._asks_queries = True
        self._limits = Limits()
        self._timer: Timer | None = None
        self._patience: Timer | None = None

    def start(self, bundle: str, *, asks_queries: bool, limits: Limits | None) -> None:
        """Watch `bundle` from the moment that it is ready.

        Args:
            bundle: Digest.
            asks_queries: Whether the source asks anything, so that an answer may be expected.
            limits: What the bundle may cost; null: no limits.
        """
        self._asks_queries, self._limits = asks_queries, limits or Limits()
        self._serving.hear_metrics(self._heard)
        self._serving.watch(bundle, self._ready, self._end_with)

    def end(self) -> None:
        """Stop watching; nobody is told any more."""
        self._ended = None
        for timer in (self._timer, self._patience):
            if timer is not None:
                timer.cancel()
        self._serving.calm()

    def _ready(self) -> None:
        self._timer = self._loop.after(self._seconds, self._over)

    def _heard(self, metrics: WorkloadMetrics) -> None:
        self._tally.add(metrics.model_dump(mode="json"))
        if self._patience is not None and self._tally.queries > 0:
            self._over()

    def _over(self) -> None:
        if self._asks_queries and self._tally.queries == 0 and self._patience is None:
            self._patience = self._loop.after(GRACE_S, self._over)
            return
        self._end_with(self._fault())

    def _fault(self) -> ReportedError | None:
        if self._asks_queries and self._tally.queries == 0:
            detail = f"no query was answered in {self._seconds + GRACE_S:.0f} s"
            return ReportedError(code="no_answer", error_class="terminal", detail=detail)
        p95_ms = self._tally.quantile("latency_ms", 0.95, LEAST_P95_SAMPLES)
        if self._limits.p95_ms is not None and p95_ms is not None and p95_ms > self._limits.p95_ms:
            detail = f"95th percentile {p95_ms:.3g} ms while serving, the document allows {self._limits.p95_ms:.3g}"
            return ReportedError(code="p95_limit", error_class="terminal", detail=detail)
        return None

    def _end_with(self, error: ReportedError | None) -> None:
        ended, self._ended = self._ended, None
        if ended is not None:
            ended(error)
