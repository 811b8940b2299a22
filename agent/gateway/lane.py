"""One workload inside the gateway: its queries wait, go to the worker one at a time, and come back as outcomes.

Decides: what is lost and why (full, dropped for a newer one, too late, no worker), that a switch to another worker
keeps every query and their order, and that a query whose worker ended is asked once more. Leaves out: sources and sinks
(`serving.py`), the order of waiting (`waiting.py`).
"""

import asyncio
import itertools
import logging
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from agent.gateway.base import Outcome, Query
from agent.gateway.counts import LaneCounts
from agent.gateway.http.base import Described
from agent.gateway.raw import RawRecorder
from agent.gateway.waiting import Waiting
from agent.gateway.worker_link import WorkerLink
from agent.serve.settings import WorkloadServe, drops_older

log = logging.getLogger(__name__)

LOGGED_EVERY_S = 60.0
"""An input that is refused is logged once in so long per reason: a broken sensor must not fill a card."""

DRAIN_S = 2.0
"""How long a switch waits for the old worker's last answer before the new one is asked."""

Heard = Callable[[Query, Outcome], None]


@dataclass(eq=False)
class _Pending:
    query: Query
    future: "asyncio.Future[Outcome]"
    arrived_ns: int
    asked_ns: int = 0
    tries: int = 0
    timer: asyncio.TimerHandle | None = field(default=None, repr=False)


class Lane:
    """Implements `Intake`. All methods belong to the event loop's thread."""

    def __init__(self, workload: str, settings: WorkloadServe, heard: Heard | None = None) -> None:
        """Wait for a worker; `heard` gets every outcome of a query that no application waits for."""
        self.workload = workload
        self.counts = LaneCounts()
        self.raw = RawRecorder()
        self.deadline_ms = settings.deadline_ms
        self._timeout_s = settings.timeout_s
        self._waiting: Waiting[_Pending] = Waiting(settings.queue.size, drops_older(settings))
        self._heard = heard
        self._numbers = itertools.count(1)
        self._link: WorkerLink | None = None
        self._old: WorkerLink | None = None
        self._asked: dict[int, tuple[WorkerLink, _Pending]] = {}
        self._expected = False
        self._paused = False
        self._described: dict[str, Any] = {}
        self._logged: dict[str, float] = {}

    # --- Intake ---------------------------------------------------------------------------------------------------

    def offer(self, query: Query) -> "asyncio.Future[Outcome]":
        """Hand over a query and go on; the future holds what became of it. Cancel it to withdraw the query."""
        loop = asyncio.get_running_loop()
        pending = _Pending(query, loop.create_future(), time.perf_counter_ns())
        self.counts.arrived()
        if not self._expected:
            self._lose(pending, "no_worker", f"nothing is deployed to {self.workload} on this device")
            return pending.future
        entry = self._waiting.offer(pending, replaceable=not query.waits)
        if entry.dropped is not None:
            self._lose(entry.dropped, "dropped_for_newer", "a newer query took its place")
        if not entry.taken:
            self._lose(pending, "queue_full", f"{len(self._waiting)} queries wait already")
            return pending.future
        pending.timer = loop.call_later(self._timeout_s, self._expire, pending)
        pending.future.add_done_callback(lambda future: self._withdrawn(pending) if future.cancelled() else None)
        self.counts.depth(len(self._waiting))
        self._pump()
        return pending.future

    @property
    def room(self) -> int:
        """How many more queries may wait now."""
        return self._waiting.room

    def refuse(self, reason: str, detail: str = "") -> None:
        """Count an input that did not become a query; the log has a detail of each reason now and then."""
        self.counts.refused(reason)
        self.raw.refused(reason)
        now = time.monotonic()
        if detail and now - self._logged.get(reason, -LOGGED_EVERY_S) >= LOGGED_EVERY_S:
            self._logged[reason] = now
            log.warning("%s: %s: %s", self.workload, reason, detail[:500])

    @property
    def bundle(self) -> str | None:
        """Digest of the bundle whose worker answers; null while there is none."""
        return self._link.bundle if self._link is not None else None

    def describe(self) -> Described:
        """Return what serves now, for applications."""
        if self._link is None:
            return Described(self.workload, ready=False)
        return Described(self.workload, ready=not self._paused, bundle=self._link.bundle, **self._described)

    # --- workers --------------------------------------------------------------------------------------------------

    def expect(self) -> None:
        """A worker will come: queries wait for it."""
        self._expected = True

    async def attach(self, run: str, bundle: str, end: socket.socket, described: Mapping[str, Any]) -> None:
        """Ask this worker from now on; the one before it may give its last answer first.

        Args:
            run: Name of the worker's run.
            bundle: Digest of what it serves.
            end: Of its channel.
            described: `model`, `variant`, `pipeline` of the bundle, for applications.
        """
        self._described = dict(described)
        labels, kind = _labels(described)
        link = WorkerLink(run, bundle, labels, kind, answered=self._answered, ended=lambda: self._ended(link))
        await link.open(end)
        self._expected = True
        self._let_go(self._link)
        self._link = link
        self.counts.held(len(self._waiting))
        self._pump()

    def detach(self, run: str) -> None:
        """Ask this worker no more. Its last answer is still taken; queries wait for the next worker."""
        if self._link is not None and self._link.run == run:
            link, self._link = self._link, None
            self._let_go(link)

    def idle(self) -> None:
        """Nothing is to be served: who waits is told."""
        self._expected = False
        for link in (self._link, self._old):
            self._retire(link)
        self._link = self._old = None
        for pending in self._waiting.clear():
            self._lose(pending, "no_worker", f"{self.workload} was taken off this device")

    def pause(self) -> None:
        """Ask nothing until `resume`; queries wait, as long as they may."""
        self._paused = True

    def resume(self) -> None:
        self._paused = False
        self._pump()

    # --- inside ---------------------------------------------------------------------------------------------------

    def _pump(self) -> None:
        link = self._link
        if link is None or link.busy or self._paused or self._old is not None:
            return
        pending = self._waiting.next()
        if pending is None:
            return
        number = next(self._numbers)
        pending.asked_ns = time.perf_counter_ns()
        pending.tries += 1
        self._asked[number] = (link, pending)
        link.ask(number, pending.query)

    def _answered(self, reply: Mapping[str, Any]) -> None:
        found = self._asked.pop(reply.get("id", 0), None)
        if found is not None:
            link, pending = found
            if not pending.future.done():
                self._settle(pending, link, reply)
            if link is self._old:
                self._old = None
                self._retire(link)
        self._pump()

    def _settle(self, pending: _Pending, link: WorkerLink, reply: Mapping[str, Any]) -> None:
        total_ns = time.perf_counter_ns() - pending.arrived_ns
        outcome = Outcome(
            reason=str(reply["reason"]) if "reason" in reply else None,
            detail=str(reply.get("detail") or ""),
            answers=tuple(reply.get("answers") or ()),
            bundle=link.bundle,
            times_ns=tuple(reply.get("ns") or (0, 0, 0)),
            total_ns=total_ns,
            asked=True,
        )
        total_ms = total_ns / 1e6
        missed = None if self.deadline_ms is None or pending.query.waits else total_ms > self.deadline_ms
        self.counts.answered(total_ms, (pending.asked_ns - pending.arrived_ns) / 1e6, missed)
        self._resolve(pending, outcome)

    def _ended(self, link: WorkerLink) -> None:
        """The worker is gone: what it was asked is asked again, once."""
        if link is self._link:
            self._link = None
        if link is self._old:
            self._old = None
        for number, (asked, pending) in list(self._asked.items()):
            if asked is link:
                del self._asked[number]
                self._ask_again(pending)
        self._pump()

    def _ask_again(self, pending: _Pending) -> None:
        if pending.future.done():
            return
        if pending.tries > 1 or not self._expected:
            self._lose(pending, "worker_ended", "the worker ended twice while it had this query")
        else:
            self._waiting.put_back(pending)

    def _expire(self, pending: _Pending) -> None:
        if self._paused and pending.asked_ns == 0 and not pending.query.waits:
            loop = asyncio.get_running_loop()  # the device measures: the source's queries wait as long as that takes
            pending.timer = loop.call_later(self._timeout_s, self._expire, pending)
            return
        if self._waiting.remove(pending) and self._link is None:
            self._lose(pending, "no_worker", f"no worker was ready within {self._timeout_s:g} s")
        elif not pending.future.done():
            self._lose(pending, "query_timeout", f"not answered within {self._timeout_s:g} s")

    def _withdrawn(self, pending: _Pending) -> None:
        """Who asked went away and cancelled the future; an answer that is under way is dropped when it comes."""
        if self._waiting.remove(pending):
            self.counts.refused("withdrawn")
        if pending.timer is not None:
            pending.timer.cancel()

    def _lose(self, pending: _Pending, reason: str, detail: str) -> None:
        if pending.future.done():
            return
        self.counts.refused(reason)
        if self.deadline_ms is not None and not pending.query.waits:
            self.counts.missed_deadline()
        self._resolve(pending, Outcome(reason=reason, detail=detail, asked=pending.asked_ns > 0))

    def _resolve(self, pending: _Pending, outcome: Outcome) -> None:
        if pending.timer is not None:
            pending.timer.cancel()
        pending.future.set_result(outcome)
        waited_ns = (pending.asked_ns or time.perf_counter_ns()) - pending.arrived_ns
        self.raw.note(outcome, waited_ns / 1e6)
        if self._heard is None or pending.query.waits:
            return
        try:
            self._heard(pending.query, outcome)
        except Exception:  # outermost frame of an outcome: sinks and capture must not hold the lane up
            log.exception("an outcome of %s was not handed on", self.workload)
            self.counts.refused("sink_failed")

    def _let_go(self, link: WorkerLink | None) -> None:
        """Ask a worker no more; it may give the answer that it works on. Nobody is asked meanwhile: order is kept."""
        if link is not None and link.busy:
            self._old = link
            asyncio.get_running_loop().call_later(DRAIN_S, self._give_up_on, link)
        else:
            self._retire(link)

    def _give_up_on(self, link: WorkerLink) -> None:
        if link is self._old:
            self._old = None
            self._retire(link)
            self._pump()

    def _retire(self, link: WorkerLink | None) -> None:
        if link is not None:
            link.close()


def _labels(described: Mapping[str, Any]) -> tuple[list[str], str]:
    """Return the labels of the classes as the bundle's manifest has them, none of anything else, and the kind."""
    pipeline = described.get("pipeline")
    post = pipeline.get("post") if isinstance(pipeline, dict) else None
    if not isinstance(post, dict):
        return [], ""
    return [str(label) for label in post.get("labels") or ()], str(post.get("kind") or "")
