"""The loop of a serving worker: queries when they are due, commands as they come, metrics once an interval.

Decides: what comes first (commands, then what is due), and that a source that is faster than the model loses queries
instead of queueing them. Leaves out: the process around it (`worker.py`).
"""

import time
from collections.abc import Callable, Mapping
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.errors import BadQuery
from agent.inference.arrays import golden_inputs
from agent.inference.bundle import order_bundle
from agent.inference.pipeline import open_pipeline
from agent.inference.post import Answer
from agent.measure.memory import rss_bytes
from agent.serve.metrics import QueryTimes, ServingMetrics
from agent.serve.orders import ServeOrder
from agent.serve.sources.base import make_source
from wire.manifest import manifest_digest

Say = Callable[..., None]
Command = Mapping[str, Any]
NEVER = float("inf")


class ServingLoop:
    """One loaded bundle, its source, and what it has counted. `run` returns when it is told to stop."""

    def __init__(self, order: ServeOrder, commands: "SimpleQueue[dict[str, Any]]", say: Say) -> None:
        """Load the bundle and answer one query, so that `ready` is true.

        Raises:
            AgentError: The bundle or its engine is faulty.
        """
        self._bundle = order_bundle(order.bundle_dir, order.manifest, order.root)
        self._pipeline = open_pipeline(self._bundle, order.threads)
        self._pipeline.answer(golden_inputs(self._bundle)[0])
        self._source = make_source(order.source, self._bundle)
        self._metrics = ServingMetrics(order.workload, manifest_digest(self._bundle.manifest))
        self._interval_s = order.metrics_interval_s
        self._commands = commands
        self._say = say
        self._paused = False
        self._stopped = False
        self._query_at = self._metrics_at = NEVER

    def run(self) -> None:
        """Serve until told to stop.

        Raises:
            EngineFailed: The engine failed.
        """
        engine = self._pipeline.engine
        self._say("ready", rss_bytes=rss_bytes(), engine=engine.name, engine_version=engine.version)
        self._query_at = time.monotonic() if self._source.period_s is not None else NEVER
        self._metrics_at = time.monotonic() + self._interval_s
        while not self._stopped:
            self._step()
        self._tell_metrics()
        self._pipeline.close()

    def _step(self) -> None:
        due = self._metrics_at if self._paused else min(self._query_at, self._metrics_at)
        try:
            command = self._commands.get(timeout=max(0.0, due - time.monotonic()))
        except Empty:
            self._do_what_is_due()
        else:
            self._obey(command)

    def _do_what_is_due(self) -> None:
        now = time.monotonic()
        if now >= self._query_at and not self._paused and self._source.period_s is not None:
            self._query_at = max(now, self._query_at + self._source.period_s)
            self._ask(self._source.next_query())
        if now >= self._metrics_at:
            self._metrics_at = max(now, self._metrics_at + self._interval_s)
            self._tell_metrics()

    def _obey(self, command: Command) -> None:
        match command.get("do"):
            case "stop":
                self._stopped = True
            case "pause" | "resume" as what:
                self._paused = what == "pause"
                self._say("paused" if self._paused else "resumed")
            case "infer":
                self._answer(command)
            case other:
                self._say("error", reason="bad_command", detail=f"no such command: {str(other)[:100]}")

    def _answer(self, command: Command) -> None:
        """Answer a query that came over stdin; it carries its own id."""
        name = command.get("id")
        try:
            query = _as_array(command.get("query"))
            answer = self._timed(query)
        except BadQuery as exc:
            self._metrics.refused(exc.reason)
            self._say("answer", id=name, reason=exc.reason, detail=str(exc))
            return
        values = [value if np.isfinite(value) else None for value in answer.values]
        self._say("answer", id=name, classes=answer.classes, labels=answer.labels, values=values)

    def _ask(self, query: NDArray[Any]) -> None:
        try:
            self._timed(query)
        except BadQuery as exc:
            self._metrics.refused(exc.reason)

    def _timed(self, query: NDArray[Any]) -> Answer:
        clock, pipeline = time.perf_counter_ns, self._pipeline
        start = clock()
        pipeline.prepare(query)
        prepared = clock()
        output = pipeline.infer()
        inferred = clock()
        answer = pipeline.finish(output)
        times = QueryTimes(prepared - start, inferred - prepared, clock() - inferred)
        self._metrics.answered(answer, times)
        return answer

    def _tell_metrics(self) -> None:
        self._say("metrics", workload_metrics=self._metrics.take().model_dump(mode="json", exclude_none=True))


def _as_array(query: Any) -> NDArray[Any]:
    try:
        return np.array(query, dtype=np.float64)
    except (TypeError, ValueError) as exc:
        raise BadQuery(f"a query is an array of numbers: {exc}") from exc
