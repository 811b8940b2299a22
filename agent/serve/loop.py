"""The loop of a serving worker: queries of its channel as they come, metrics once an interval.

Decides: that queries wait for nothing but the query before them (commands are heard on a thread of their own), how a
worker ends (told to stop, it answers what its channel still holds; deaf to commands, it does not go on), how long a
batch may keep it, and that a query which takes more memory than there is costs no other one its answer. Leaves out: the
process around it (`worker.py`), queues and pacing (`agent/gateway`).
"""

import base64
import gc
import math
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any

from numpy.typing import NDArray

from agent.errors import AgentError, BadQuery
from agent.inference.arrays import golden_inputs
from agent.inference.bundle import order_bundle
from agent.inference.engines.registry import engine_class
from agent.inference.kernels.compiled import loaded_form
from agent.inference.order import heartbeat
from agent.inference.pipeline import open_pipeline
from agent.inference.post import Answer
from agent.measure.memory import rss_bytes
from agent.serve.channel import TOO_MUCH, Channel, Mask, Numbers, Silent, TakesTooMuch
from agent.serve.commands import CommandReader
from agent.serve.decode import Form, decode_value
from agent.serve.metrics import QueryTimes, ServingMetrics
from agent.serve.orders import ServeOrder
from wire.manifest import manifest_digest

MOST_AT_ONCE = 10_000
"""Queries of one batch."""

LONGEST_BATCH_S = 30.0
"""A batch that takes longer is given up: others wait meanwhile, and its application has given it up by then."""

LOOK_S = 0.25
"""How often a worker without queries looks whether it is to stop, or to tell its metrics."""

Say = Callable[..., None]
Answered = tuple[Answer, QueryTimes]
Command = Mapping[str, Any]


class BatchTooLong(BadQuery):
    """A batch took longer than a worker may be kept by one; it was given up. Ask fewer queries at a time."""

    reason = "batch_too_long"


class ServingLoop:
    """One loaded bundle and what it has counted. `run` returns when it is told to stop."""

    def __init__(self, order: ServeOrder, commands: CommandReader, say: Say) -> None:
        """Load the bundle and answer one query, so that `ready` is true.

        Raises:
            AgentError: The bundle or its engine is faulty.
        """
        bundle = order_bundle(order.bundle_dir, order.manifest, order.root)
        compiles = engine_class(bundle.manifest.engine).compiles(bundle.manifest.engine_options)
        with heartbeat(say) if compiles else nullcontext():
            self._pipeline = open_pipeline(bundle, order.threads)
        self._pipeline.answer(golden_inputs(bundle)[0])
        self._pipeline.forget()
        self._metrics = ServingMetrics(order.workload, manifest_digest(bundle.manifest))
        self._interval_s = order.metrics_interval_s
        self._metrics_at = math.inf
        self._commands = commands
        self._say = say
        self._header: Command = {}
        self._form = Form({})
        self._uncounted: list[tuple[Answer, QueryTimes, NDArray[Any]]] = []
        self._asking = threading.Lock()
        self._changed = threading.Event()
        self._channel: Channel | None = None
        self._next: Channel | None = None
        self._stopped = self._stopping = False
        self._bundle = bundle
        self._doubtful = False
        self._failure: BaseException | None = None

    def run(self) -> None:
        """Serve until told to stop.

        Raises:
            EngineFailed: The engine failed.
            ChannelBroken: The gateway sent what is no frame.
            MemoryError: Not even a query that was answered before is answered any more.
            RuntimeError: Commands are no longer heard.
        """
        gc.freeze()  # what is loaded stays: a collection that walked through it would stop queries for tens of ms
        engine = self._pipeline.engine
        fields = {"rss_bytes": rss_bytes(), "engine": engine.name, "engine_version": engine.version}
        self._say("ready", **fields, kernels=loaded_form())
        threading.Thread(target=self._hear_commands, name="commands", daemon=True).start()
        self._metrics_at = time.monotonic() + self._interval_s
        while not self._stopped:
            self._step(min(LOOK_S, self._interval_s))
            if time.monotonic() >= self._metrics_at:
                self._tell_metrics()
        self._raise_failure()
        self._tell_metrics()
        self._pipeline.close()

    def _step(self, look_s: float) -> None:
        """Answer a query, or wait for one."""
        if self._doubtful:
            self._prove()
        if self._next is not None:
            self._channel, self._next = self._next, None
            self._channel.listen_for(look_s)
        if self._channel is None:
            self._changed.wait(look_s)
            self._changed.clear()
            return
        try:
            frame = self._channel.receive()
        except Silent:
            return
        except TakesTooMuch as exc:
            with self._asking:
                self._channel.refuse(*self._refused(exc))
            return
        if frame is None:
            self._channel.close()
            self._channel = None
            self._stopped = self._stopped or (self._stopping and self._next is None)
            return
        self._serve(self._channel, *frame)

    # --- commands, on a thread of their own -----------------------------------------------------------------------

    def _hear_commands(self) -> None:
        try:
            while (commands := self._commands.read()) is not None:
                for command in commands:
                    self._obey(command)
        except BaseException as exc:
            # The outermost frame of this thread: whatever ends it ends the worker, which would serve on, deaf.
            self._failure = exc
        self._stopped = True  # the agent is gone, or wants no draining
        self._changed.set()

    def _raise_failure(self) -> None:
        """End the worker by what ended the hearing of commands, if anything did."""
        if isinstance(self._failure, (AgentError, MemoryError)):
            raise self._failure
        if self._failure is not None:
            raise RuntimeError("commands are no longer heard") from self._failure

    def _obey(self, command: Command) -> None:
        match command.get("do"):
            case "stop":
                self._stopping = True
                self._stopped = self._channel is None and self._next is None
                self._changed.set()
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
        self._next = Channel(end)
        older = self._channel
        if older is not None:
            older.shut()
        self._changed.set()

    def _answer_command(self, command: Command) -> None:
        """Answer a query that came over stdin; it carries its own id."""
        name = command.get("id")
        with self._asking:
            try:
                answer = self._timed(decode_value(command.get("query")))[0]
                found = as_document(answer)
            except (BadQuery, MemoryError) as exc:
                reason, detail = self._refused(exc)
                found = {"reason": reason, "detail": detail}
            self._say("answer", id=name, **found)
            self._count()

    # --- queries --------------------------------------------------------------------------------------------------

    def _serve(self, channel: Channel, header: Command, payload: memoryview) -> None:
        with self._asking:
            try:
                query = self._decoded(header, payload)
                if self._form.batch:
                    self._send_all(channel, query)
                else:
                    answer, times = self._timed(query)
                    channel.send_answers((numbers_of(answer),), (times.pre, times.infer, times.post))
            except (BadQuery, MemoryError) as exc:
                channel.refuse(*self._refused(exc))
            self._count()

    def _refused(self, exc: BadQuery | MemoryError) -> tuple[str, str]:
        """Count a query that has no answer; return the reason and the detail."""
        if isinstance(exc, MemoryError):
            self._doubtful = True
            exc = TakesTooMuch(f"{TOO_MUCH} {exc}".strip())
        self._metrics.refused(exc.reason)
        return exc.reason, str(exc)

    def _prove(self) -> None:
        """See that the bundle's own query is still answered, after one for which there was not memory enough.

        What queries left behind is dropped: nobody knows how far the last one came.

        Raises:
            MemoryError: It is not: the process ends, and a fresh one takes its place.
        """
        with self._asking:
            self._doubtful = False
            self._pipeline.forget()
            self._pipeline.answer(golden_inputs(self._bundle)[0])
            self._pipeline.forget()

    def _decoded(self, header: Command, payload: memoryview) -> NDArray[Any]:
        if header is not self._header:  # a source's headers are all alike, and the channel gives the same one again
            self._header, self._form = header, Form(header)
        return self._form.decode(payload)

    def _send_all(self, channel: Channel, query: NDArray[Any]) -> None:
        """Answer a batch: the queries along the first axis, or none of them."""
        if query.ndim == 0 or len(query) == 0:
            raise BadQuery("a batch is an array with queries along its first axis, one at least")
        if len(query) > MOST_AT_ONCE:
            raise BadQuery(f"a batch of {len(query)} queries: {MOST_AT_ONCE} are allowed, since others wait meanwhile")
        answered = self._answer_all(channel, query)
        if answered is None:
            return
        pre, infer, post = (sum(spent) for spent in zip(*((t.pre, t.infer, t.post) for _, t in answered), strict=True))
        channel.send_answers([numbers_of(answer) for answer, _ in answered], (pre, infer, post))

    def _answer_all(self, channel: Channel, query: NDArray[Any]) -> list[Answered] | None:
        """Answer a batch's queries; None where nobody waits for the answers any more.

        Raises:
            BatchTooLong: It takes too long.
        """
        begun = look_at = time.monotonic()
        answered: list[Answered] = []
        for each in query:
            answered.append(self._timed(each))
            now = time.monotonic()
            if now - begun > LONGEST_BATCH_S:
                raise BatchTooLong(f"given up after {len(answered)} of {len(query)} queries: ask fewer at a time")
            if now >= self._metrics_at:  # a worker that says nothing is taken for hung
                self._count()
                self._say_metrics()
            if now >= look_at:
                look_at = now + LOOK_S
                if self._stopped or channel.ended():
                    return None
        return answered

    def _timed(self, query: NDArray[Any]) -> Answered:
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
        with self._asking:
            self._say_metrics()

    def _say_metrics(self) -> None:
        """Tell what was counted since the last time; the caller holds `_asking`."""
        self._metrics_at = max(time.monotonic(), self._metrics_at + self._interval_s)
        self._say("metrics", workload_metrics=self._metrics.take())


def numbers_of(answer: Answer) -> Numbers:
    """Return an answer as the channel carries it: labels are put to it by the gateway, which has them."""
    if answer.mask is None:
        return Numbers(answer.classes, answer.values, answer.boxes)
    rows, columns = answer.mask.shape
    return Numbers(answer.classes, answer.values, answer.boxes, Mask(rows, columns, answer.mask.tobytes()))


def as_document(answer: Answer) -> dict[str, Any]:
    """Return an answer as JSON holds it: a value that is not finite becomes null, a mask's bytes base64."""
    values = [value if math.isfinite(value) else None for value in answer.values]
    found: dict[str, Any] = {"classes": answer.classes, "labels": answer.labels, "values": values}
    if answer.boxes:
        found["boxes"] = answer.boxes
    if answer.mask is not None:
        rows, columns = answer.mask.shape
        pixels = base64.b64encode(answer.mask.tobytes()).decode("ascii")
        found["mask"] = {"rows": rows, "columns": columns, "pixels": pixels}
    return found
