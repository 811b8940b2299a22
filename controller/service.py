"""The controller's service: listens to its fleets, answers them, and carries rollouts on.

Decides: the threads and their order. Leaves out: what is decided (`rollout`), said (`wire`) and stored (`store`).
Threads: the network thread puts messages into a queue; the ingest thread is the only one that decodes them; the chunk
thread answers wants; the engine thread decides, writes, and publishes what is written.

    with Service(workspace, BrokerSettings(port=1883), ["farm-sensors"]) as service:
        rollout = service.start_rollout(spec)
        while service.wait_changed(1.0): ...
"""

import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Self

from controller.bundle.artifacts import ArtifactStore
from controller.distribute.chunks import ChunkServer
from controller.distribute.documents import Documents
from controller.distribute.reconcile import RetainedState
from controller.errors import ConfigurationError
from controller.fleet.ask import Asking, ask_trials, cancel_trials
from controller.fleet.changes import Changes
from controller.fleet.inbox import Inbox
from controller.fleet.ingest import Effects, Ingest
from controller.fleet.samples import SampleFolder
from controller.fleet.views import DeviceView, TrialView, device_views, trial_views
from controller.keys import load_key
from controller.lead import LeadLoop
from controller.leadership import Leadership
from controller.mqtt import BrokerClient, BrokerSettings
from controller.rollout.engine import RolloutEngine
from controller.rollout.spec import RolloutSpec
from controller.store import desired, devices, rollouts
from controller.store.database import Store
from controller.workspace import Workspace
from wire.errors import WireError
from wire.telemetry import Metrics
from wire.topics import Topics
from wire.trial import PlanPolicy, TrialRequest

log = logging.getLogger(__name__)

RETURN_S = 4.0
"""Devices that were online when this database was last led come back to an emptied broker within so long, or later."""


class Service:
    """One leader of a workspace, connected to a broker. Use it as a context, or `start` and `stop` it."""

    def __init__(
        self,
        workspace: Workspace,
        settings: BrokerSettings,
        fleets: Sequence[str],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Open the workspace; nothing is sent or led yet.

        Raises:
            NotFound: No workspace there.
            TrustError: No signing key, or one that others can read.
            BadTopic: A fleet's name cannot stand in a topic.
        """
        workspace.require()
        self.workspace = workspace
        self.key = load_key(workspace.keys)
        self.store = Store.open(workspace)
        self.artifacts = ArtifactStore(workspace.artifacts)
        self.clock = clock
        self.fleets: tuple[str, ...] = ()
        self.changes = Changes()
        self.on_metrics: Callable[[Metrics], None] | None = None
        """Called on the ingest thread with each metrics message that was stored."""
        self.leadership = Leadership(self.store, clock)
        self._retained = RetainedState(clock)
        self._ingest = Ingest(self.store, self.key, SampleFolder(workspace.samples), clock)
        self._inbox = Inbox(self._ingest, self._retained, self._carry_out)
        self._client = BrokerClient(
            settings,
            f"thresher-controller-{self.owner.rpartition(':')[2]}",
            on_message=self._inbox.put,
            on_connected=self._on_connected,
        )
        self._documents = Documents(self.store, self.key, self._client, clock)
        self._chunks = ChunkServer(self.artifacts, self._client.publish, lambda: self._client.connected)
        self._engine = RolloutEngine(self.store, self.artifacts, self._documents, self.leadership, clock)
        self._loop = self._make_loop()
        self._leads = self._stopped = False
        self.add_fleets(fleets)

    @property
    def owner(self) -> str:
        """This process's name as a leader and as an owner of deployments."""
        return self.leadership.owner

    @property
    def epoch(self) -> int:
        """Epoch under which this process leads; 0 before it does."""
        return self.leadership.epoch

    @property
    def connected(self) -> bool:
        """Whether the broker is there now."""
        return self._client.connected

    @property
    def turns(self) -> int:
        """Turns of the engine thread since the start; the watchdog is shown life only as long as they go on."""
        return self._loop.turns

    @property
    def counts(self) -> Mapping[str, int]:
        """Messages taken and refused since the start, by kind; those under `KIND.malformed` were ignored."""
        return Counter(self._ingest.counts)

    @property
    def published_bytes(self) -> Mapping[str, int]:
        """Bytes published per artifact since the start: the controller's upload."""
        return Counter(self._chunks.published_bytes)

    @property
    def published_chunks(self) -> Mapping[str, int]:
        """Chunks and index pieces published per artifact since the start."""
        return Counter(self._chunks.published_chunks)

    def start(self) -> None:
        """Lead, connect, take in what the broker retains, publish what it lost, and go on with what is unfinished.

        Raises:
            Busy: Another process leads this workspace.
            BrokerUnreachable: Nobody answers, or the credentials are refused.
        """
        self.leadership.take()
        self._leads = True
        self._ingest.former_life_s = self.leadership.former_life_s
        self._client.connect()
        self.leadership.beat()
        self._inbox.start()
        self._settle()
        self._chunks.start()
        self._loop.start()

    def stop(self) -> None:
        """Stop deciding and answering, and step down. Rollouts stay where they are. Safe to call twice."""
        if self._stopped:
            return
        self._stopped = True
        self._loop.stop()
        self._inbox.stop()
        self._chunks.stop()
        self._client.close()
        if self._leads:
            self.leadership.release()
        self.store.close()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def add_fleets(self, fleets: Sequence[str]) -> None:
        """Listen to more fleets, now or once connected.

        Raises:
            BadTopic: A fleet's name cannot stand in a topic.
        """
        new = tuple(fleet for fleet in dict.fromkeys(fleets) if fleet not in self.fleets)
        filters = [each for fleet in new for each in _filters(Topics(fleet))]
        if new:
            self.fleets += new
            self._retained.connected()
            self._client.subscribe(filters)

    def devices(self, fleet: str) -> list[DeviceView]:
        """Return the fleet's devices by name, as last seen."""
        with self.store.read() as session:
            return device_views(session, fleet)

    def wait_for_devices(
        self, fleet: str, enough: Callable[[list[DeviceView]], bool], timeout_s: float
    ) -> list[DeviceView]:
        """Return the fleet's devices once `enough` says so, or as they are after `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        while not enough(views := self.devices(fleet)) and (left_s := deadline - time.monotonic()) > 0:
            self.wait_changed(min(left_s, 1.0))
        return views

    def ask_trials(
        self,
        deployment: str,
        requests: Mapping[str, Sequence[TrialRequest]],
        classes: Mapping[str, str],
        policy: PlanPolicy,
    ) -> None:
        """Ask devices to measure. Asking again, after a restart too, changes nothing for trials that are known.

        Args:
            deployment: Id.
            requests: Device -> what it is to measure, in order.
            classes: Device -> its class.
            policy: How to measure on a device that serves.
        Raises:
            NotFound: No such deployment.
            ConfigurationError: A device without a class.
            LeadershipLost: Another process leads now.
        """
        asking = Asking(deployment, requests, classes, policy)
        with self.store.begin() as session:
            self.leadership.check(session)
            ask_trials(session, self._documents, asking, self.leadership.epoch, now_s=self.clock())
        self._loop.wake()

    def cancel_trials(self, deployment: str, device: str | None = None) -> int:
        """Call off trials that have not come back, of one device or of all; return how many.

        Raises:
            LeadershipLost: Another process leads now.
        """
        with self.store.begin() as session:
            self.leadership.check(session)
            canceled = cancel_trials(session, self._documents, deployment, device, self.leadership.epoch)
        self._loop.wake()
        return canceled

    def trials(self, deployment: str, *, with_records: bool = True) -> list[TrialView]:
        """Return a deployment's trials; a progress display asks without records."""
        with self.store.read() as session:
            return trial_views(session, deployment, with_records=with_records)

    def start_rollout(self, spec: RolloutSpec) -> str:
        """Write a rollout and return its id; the engine carries it on. A deployment that has one gets that one.

        Raises:
            ConfigurationError: No devices, or one twice, or a fleet that this service does not listen to.
            NotFound: A bundle is not in this workspace.
            LeadershipLost: Another process leads now.
        """
        if spec.fleet not in self.fleets:
            raise ConfigurationError(f"this process does not listen to fleet {spec.fleet}, only to {self.fleets}")
        rollout = self._engine.create(spec)
        self._loop.wake()
        self.changes.note()
        return rollout

    def wish(self, rollout: str, wish: str, actor: str) -> None:
        """Ask something of a rollout: pause, resume, abort, rollback or approve. It is a row: any process may write it.

        Raises:
            NotFound: No such rollout.
            ConfigurationError: No such wish, or it comes too late.
        """
        with self.store.begin() as session:
            rollouts.wish(session, rollout, wish, actor, now_s=self.clock())
        self._loop.wake()

    def wait_changed(self, timeout_s: float) -> bool:
        """Wait until anything was taken in or decided since this thread last asked; return whether it was.

        Raises:
            LeadershipLost: Another process leads now; nothing more will change here.
        """
        return self.changes.wait(timeout_s)

    def _make_loop(self) -> LeadLoop:
        return LeadLoop(
            self.store,
            self.leadership,
            self._documents,
            self._engine,
            self._retained,
            fleets=lambda: self.fleets,
            changed=self.changes.note,
            lost=self.changes.end,
            clock=self.clock,
        )

    def _on_connected(self) -> None:
        self._retained.connected()
        self._loop.wake()

    def _settle(self) -> None:
        """Take in what is retained, and give devices that were there a moment to say where they are."""
        with self.store.read() as session:
            expected = {key for key in devices.online(session) if key[0] in self.fleets}
        deadline = time.monotonic() + RETURN_S
        while not (self._retained.settled and self._inbox.empty) or (
            not self._retained.has_heard(expected) and time.monotonic() < deadline
        ):
            time.sleep(0.05)
        with self.store.read() as session:
            self.leadership.rise_above(desired.largest_epoch(session))

    def _carry_out(self, effects: Effects) -> None:
        self._retained.saw(effects.retained, effects.heard)
        for (fleet, device), received in effects.acknowledge.items():
            self._documents.acknowledge(fleet, device, received)
        for (fleet, device), samples in effects.samples.items():
            self._documents.acknowledge(fleet, device, (), samples)
        for answer in effects.claimed:
            self._documents.answer_claim(answer)
        hear = self.on_metrics
        if hear is not None:
            for metrics in effects.metrics:
                hear(metrics)
        for fleet, want in effects.wants:
            try:
                self._chunks.add(fleet, want)
            except WireError as exc:
                log.warning("a want of %s is ignored: %s", want.device, exc)
        if effects.epoch_seen > self.leadership.epoch:
            self.leadership.rise_above(effects.epoch_seen)
        if effects.changed:
            self._loop.wake()
            self.changes.note()


def _filters(topics: Topics) -> list[str]:
    return [
        topics.presence("+"),
        topics.inventory("+"),
        topics.reported("+", "+"),
        topics.desired("+", "+"),
        topics.plan("+"),
        topics.trial("+", "+"),
        topics.sample("+", "+"),
        topics.event("+"),
        topics.metrics("+"),
        topics.sync("+"),
        topics.claim("+"),
        topics.raw_part("+", "+"),
        topics.wants(),
    ]
