"""One workload as the gateway serves it: its lane, its source, its sinks, its capture.

Decides: when a source runs (from the first worker on), how one that is lost or fails is tried again, and what a
prediction holds. Leaves out: the lane's queue, and what sources and sinks are.
"""

import asyncio
import contextlib
import itertools
import json
import logging
import secrets
import socket
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from agent.errors import ConfigurationError
from agent.gateway.base import Clock, DataLink, Outcome, Prediction, Query, Source, SourceLost, Surroundings
from agent.gateway.lane import Lane
from agent.gateway.sinks.forward import Forwarder
from agent.gateway.sinks.make import make_forwarders
from agent.gateway.sources import make_source
from agent.gateway.store.capture import Capture
from agent.serve.settings import MqttSource, WorkloadServe

log = logging.getLogger(__name__)

FIRST_RETRY_S = 1.0
LONGEST_RETRY_S = 60.0
MANIFEST = "manifest.json"

Tell = Callable[[str, str], None]


class Served:
    """A workload. All methods belong to the event loop's thread."""

    def __init__(self, workload: str, settings: WorkloadServe, link: DataLink, place: "Place", tell: Tell) -> None:
        """Make source and sinks; what an earlier run left undelivered goes first.

        Args:
            workload: Its name.
            settings: How it is served.
            link: Session with the broker of sensors and predictions.
            place: Whose gateway this is.
            tell: Publishes (reason, detail) of a trouble.
        """
        self.workload = workload
        self.lane = Lane(workload, settings, self._heard)
        self.listens = isinstance(settings.source, MqttSource)
        self._place = place
        self._tell = tell
        self._golden: Path | None = None
        self._numbers = itertools.count(1)
        self._life = secrets.token_hex(6)  # the numbers begin again with each gateway and workload, the ids must not
        around = self._surroundings(link)
        self._source: Source = make_source(settings.source, around)
        if self._source.period_s is not None and self.lane.deadline_ms is None:
            self.lane.deadline_ms = self._source.period_s * 1e3
        self._forwarders: list[Forwarder] = []
        self._capture: Capture | None = None
        self._open(settings, around)
        self._delivering = [asyncio.create_task(forwarder.run()) for forwarder in self._forwarders]
        self._running: asyncio.Task[None] | None = None

    def _open(self, settings: WorkloadServe, around: Surroundings) -> None:
        """Make sinks and capture. Where a folder or a setting does not allow it, queries are answered all the same."""
        sinks = replace(around, count=self.lane.counts.undelivered)
        try:
            self._forwarders = make_forwarders(settings.sinks, settings.store, sinks)
            self._capture = Capture(settings.capture, around) if settings.capture is not None else None
        except (OSError, ConfigurationError) as exc:
            self._trouble(
                "sink_unusable", f"{exc}; correct it and start the agent again: nothing is delivered until then"
            )

    def _trouble(self, reason: str, detail: str) -> None:
        self._tell(reason, detail)

    async def attach(self, run: str, bundle: str, bundle_dir: str, end: socket.socket) -> None:
        """Ask this worker from now on, and have the source run."""
        manifest = _manifest(Path(bundle_dir))
        golden = manifest.get("golden")
        inputs = golden.get("inputs") if isinstance(golden, dict) else None
        self._golden = Path(bundle_dir) / str(inputs) if inputs else None
        described = {name: manifest.get(name) for name in ("model", "variant", "pipeline")}
        await self.lane.attach(run, bundle, end, described)
        if self._running is None:
            self._running = asyncio.create_task(self._keep_running(), name=f"source-{self.workload}")

    def idle(self) -> None:
        """Nothing is to be served: the source stops."""
        self.lane.idle()
        if self._running is not None:
            self._running.cancel()
            self._running = None

    async def close(self) -> None:
        """Stop the source, and have what is undelivered stored."""
        self.idle()
        for forwarder in self._forwarders:
            await forwarder.close()
        if self._capture is not None:
            await self._capture.close()

    def _surroundings(self, link: DataLink) -> Surroundings:
        folder = self._place.state_dir / "gateway" / self.workload
        return Surroundings(
            device=self._place.device,
            workload=self.workload,
            state_dir=folder,
            clock=self._place.clock,
            link=link,
            golden_inputs=lambda: self._golden,
            count=self.lane.counts.refused,
        )

    # --- the source -----------------------------------------------------------------------------------------------

    async def _keep_running(self) -> None:
        """Run the source; again, ever later, when it is lost or fails. It ends when it has no more queries."""
        delay_s = FIRST_RETRY_S
        while True:
            started_s = self._place.clock.monotonic_s()
            try:
                await self._source.run(self.lane)
                return
            except SourceLost as exc:
                reason, detail = exc.reason, str(exc)
            except Exception as exc:  # outermost frame of the source: whatever fails, the other workloads go on
                log.exception("source of %s", self.workload)
                reason, detail = "source_failed", f"{type(exc).__name__}: {exc}"
            if self._place.clock.monotonic_s() - started_s > LONGEST_RETRY_S:
                delay_s = FIRST_RETRY_S
            self.lane.refuse(reason)
            self._trouble(reason, f"{detail}; tried again in {delay_s:.0f} s")
            await self._place.clock.sleep(delay_s)
            delay_s = min(LONGEST_RETRY_S, delay_s * 2)

    # --- outcomes -------------------------------------------------------------------------------------------------

    def _heard(self, query: Query, outcome: Outcome) -> None:
        """Hand an outcome on to whoever wants it. Called for queries of the source alone."""
        if outcome.reason is not None:
            return
        if self._capture is not None:
            self._capture.heard(query, outcome)
        for answer in outcome.answers if self._forwarders else ():
            prediction = self._prediction(query, outcome, answer)
            for forwarder in self._forwarders:
                forwarder.accept(prediction)

    def _prediction(self, query: Query, outcome: Outcome, answer: Mapping[str, Any]) -> Prediction:
        return Prediction(
            {
                "device": self._place.device,
                "workload": self.workload,
                "bundle": outcome.bundle,
                "id": f"{self._life}-{next(self._numbers)}",
                "at_s": round(self._place.clock.now_s(), 3),
                "origin": dict(query.origin),
                **answer,
            }
        )


class Place:
    """Whose gateway this is."""

    def __init__(self, device: str, boot_id: str, state_dir: Path, clock: Clock) -> None:
        self.device = device
        self.boot_id = boot_id
        self.state_dir = state_dir
        self.clock = clock


def _manifest(bundle_dir: Path) -> Mapping[str, Any]:
    """Return a bundle's manifest; it was verified when the bundle was fetched."""
    with contextlib.suppress(OSError, ValueError):
        found = json.loads((bundle_dir / MANIFEST).read_bytes())
        if isinstance(found, dict):
            return found
    return {}
