"""The loop of a serving worker: queries of its channel as they come, commands, metrics once an interval.

Decides: what comes first (commands, then queries, then metrics), and how a worker ends: told to stop, it answers what
its channel still holds. Leaves out: the process around it (`worker.py`), queues and pacing (`agent/gateway`).
"""

import gc
import math
import selectors
import time
from collections.abc import Callable, Mapping
from typing import Any

from numpy.typing import NDArray

from agent.errors import BadQuery
from agent.inference.arrays import golden_inputs
from agent.inference.bundle import order_bundle
from agent.inference.kernels.compiled import loaded_form
from agent.inference.pipeline import open_pipeline
from agent.inference.post import Answer
from agent.measure.memory import rss_bytes
from agent.serve.channel import Channel, ChannelBroken
from agent.serve.commands import CommandReader
from agent.serve.decode import decode_query
from agent.serve.metrics import QueryTimes, ServingMetrics
from agent.serve.orders import ServeOrder
from wire.manifest import manifest_digest

MOST_AT_ONCE = 10_000
"""Queries of one batch."""

Say = Callable[..., None]
Command = Mapping[str, Any]


class ServingLoop:
    """One loaded bundle and what it has counted. `run` returns when it is told to stop."""

    def __init__(self, order: ServeOrder, commands: CommandReader, say: Say) -> None:
        """Load the bundle and answer one query, so that `ready` is true.

        Raises:
            AgentError: The bundle or its engine is faulty.
        """
        bundle = order_bundle(order.bundle_dir, order.manifest, order.root)
        self._pipeline = open_pipeline(bundle, order.threads)
        self._pipeline.answer(golden_inputs(bundle)[0])
        self._metrics = ServingMetrics(order.workload, manifest_digest(bundle.manifest))
        self._interval_s = order.metrics_interval_s
        self._commands = commands
        self._say = say
        self._header: Command = {}
        self._form: tuple[str, str, list[int]] = ("", "", [])
        self._uncounted: list[tuple[Answer, QueryTimes, NDArray[Any]]] = []
        self._channel: Channel | None = None
        self._stopped = self._stopping = False
        self._selector = selectors.DefaultSelector()
        self._selector.register(commands, selectors.EVENT_READ, self._read_commands)

    def run(self) -> None:
        """Serve until told to stop.

        Raises:
            EngineFailed: The engine failed.
            ChannelBroken: The gateway sent what is no frame.
        """
        gc.freeze()  # what is loaded stays: a collection that walked through it would stop queries for tens of ms
        engine = self._pipeline.engine
        self._say(
            "ready",
            rss_bytes=rss_bytes(),
            engine=engine.name,
            engine_version=engine.version,
            kernels=loaded_form(),
        )
        metrics_at = time.monotonic() + self._interval_s
        while not self._stopped:
            for key, _ in self._selector.select(max(0.0, metrics_at - time.monotonic())):
                key.data()
            if time.monotonic() >= metrics_at:
                metrics_at = max(time.monotonic(), metrics_at + self._interval_s)
                self._tell_metrics()
        self._tell_metrics()
        self._pipeline.close()

    # --- commands -------------------------------------------------------------------------------------------------

    def _read_commands(self) -> None:
        commands = self._commands.read()
        for command in commands or ():
            self._obey(command)
        if commands is None:  # the agent is gone, or wants no draining
            self._stopped = True

    def _obey(self, command: Command) -> None:
        match command.get("do"):
            case "stop":
                self._stopping = True
                self._stopped = self._channel is None
            case "attach":
                self._attach()
            case "infer":
                self._answer_command(command)
            case other:
                self._say("error", reason="bad_command", detail=f"no such command: {str(other)[:100]}")

    def _attach(self) -> None:
        """Take queries from the channel whose end came with the command; an older channel is given up."""
        end = self._commands.take_socket()
        if end is None:
            self._say("error", reason="bad_command", detail="attach came without a channel")
            return
        self._detach()
        self._channel = Channel(end)
        self._selector.register(self._channel, selectors.EVENT_READ, self._serve_one)

    def _detach(self) -> None:
        channel, self._channel = self._channel, None
        if channel is not None:
            self._selector.unregister(channel)
            channel.close()

    def _answer_command(self, command: Command) -> None:
        """Answer a query that came over stdin; it carries its own id."""
        name = command.get("id")
        try:
            answer = self._timed(decode_query_value(command.get("query")))[0]
        except BadQuery as exc:
            self._metrics.refused(exc.reason)
            self._say("answer", id=name, reason=exc.reason, detail=str(exc))
            return
        self._say("answer", id=name, **as_document(answer))
        self._count()

    # --- queries --------------------------------------------------------------------------------------------------

    def _serve_one(self) -> None:
        assert self._channel is not None
        frame = self._channel.receive()
        if frame is None:
            self._detach()
            self._stopped = self._stopping
            return
        header, payload = frame
        try:
            reply = self._reply(header, payload)
        except BadQuery as exc:
            self._metrics.refused(exc.reason)
            reply = {"reason": exc.reason, "detail": str(exc)[:1000]}
        if "id" in header:
            reply["id"] = header["id"]
        self._channel.send(reply)
        self._count()

    def _reply(self, header: Command, payload: bytes) -> dict[str, Any]:
        if header is not self._header:  # a source's headers are all alike, and the channel gives the same one again
            shape = list(header.get("shape") or ())
            self._header, self._form = header, (str(header.get("encoding")), str(header.get("dtype")), shape)
        query = decode_query(payload, *self._form)
        if not header.get("batch"):
            answer, times = self._timed(query)
            return {"answers": [as_document(answer)], "ns": [times.pre, times.infer, times.post]}
        if query.ndim == 0 or len(query) == 0:
            raise BadQuery("a batch is an array with queries along its first axis, one at least")
        if len(query) > MOST_AT_ONCE:
            raise BadQuery(
                f"a batch of {len(query)} queries: {MOST_AT_ONCE} are allowed, since nobody else is answered"
            )
        answered = [self._timed(each) for each in query]
        total = [sum(spent) for spent in zip(*((t.pre, t.infer, t.post) for _, t in answered), strict=True)]
        return {"answers": [as_document(answer) for answer, _ in answered], "ns": total}

    def _timed(self, query: NDArray[Any]) -> tuple[Answer, QueryTimes]:
        clock, pipeline = time.perf_counter_ns, self._pipeline
        start = clock()
        pipeline.prepare(query)
        prepared = clock()
        output = pipeline.infer()
        inferred = clock()
        answer = pipeline.finish(output)
        times = QueryTimes(prepared - start, inferred - prepared, clock() - inferred)
        self._uncounted.append((answer, times, query))
        return answer, times

    def _count(self) -> None:
        """Count what was answered: after the answers are on their way, so that nobody waits for it."""
        for answer, times, query in self._uncounted:
            self._metrics.answered(answer, times, query)
        self._uncounted.clear()

    def _tell_metrics(self) -> None:
        self._say("metrics", workload_metrics=self._metrics.take())


def as_document(answer: Answer) -> dict[str, Any]:
    """Return an answer as JSON holds it: a value that is not finite becomes null."""
    values = [value if math.isfinite(value) else None for value in answer.values]
    return {"classes": answer.classes, "labels": answer.labels, "values": values}


def decode_query_value(query: Any) -> NDArray[Any]:
    """Return the array that nested lists stand for.

    Raises:
        BadQuery: They stand for none.
    """
    import numpy as np

    try:
        return np.array(query, dtype=np.float64)
    except (TypeError, ValueError) as exc:
        raise BadQuery(f"a query is an array of numbers: {exc}") from exc


__all__ = ["ChannelBroken", "ServingLoop", "as_document"]
