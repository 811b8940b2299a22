"""The control process: what arrives becomes events of the machines, and everything else hangs on it.

Decides: wiring, the order of starting and stopping, and which workload a document belongs to. Leaves out: the decisions
(`update/machine.py`, `plan/agenda.py`), the work (children) and the network (`mqtt.py`).
It loads neither numpy nor numba nor an engine.
"""

import logging
import shutil
import signal
import time
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from agent.artifacts.channel import BrokerChannel
from agent.artifacts.downloads import Downloads
from agent.artifacts.store import ArtifactStore
from agent.child import cap_kind
from agent.config import AgentConfig, broker_password
from agent.device import cgroup
from agent.device.identity import Identity, StateLock
from agent.device.notify import Notifier
from agent.device.pulse import MetricsPulse
from agent.device.raw import RawTelling
from agent.device.reporter import Reporter, presence
from agent.install.claim import Claimer
from agent.install.connected import note_connected
from agent.inventory import agent_version, find_engines, take_inventory
from agent.loop import Loop
from agent.measure.conditions.heat import IDLE_NAME, IdleTemperature
from agent.measure.conditions.moments import snapshot
from agent.mqtt import (
    AckReceived,
    ChunkReceived,
    ClaimedReceived,
    Connected,
    DesiredReceived,
    Disconnected,
    Inbound,
    Link,
    PlanReceived,
    RawReceived,
    Unreadable,
)
from agent.plan.runner import PlanRunner, Surroundings
from agent.samples.outbox import SampleOutbox
from agent.samples.sender import SampleSender
from agent.supervise.gateway import GatewayProcess, gateway_order
from agent.supervise.run import RunSetup
from agent.supervise.serving import Serving
from agent.update.documents import MOST_WAITING, Documents
from agent.update.judge import DISK_MARGIN_BYTES
from agent.update.slots import WorkloadFolder, saved_workloads
from agent.update.trust import Trust
from agent.update.vocabulary import DesiredArrived, Facts, Restarted, Tell
from agent.update.workload import Device, Workload
from wire.claim import Claimed
from wire.device_state import State
from wire.errors import WireError
from wire.presence import Traffic
from wire.raw import RawRequest
from wire.trial import Plan
from wire.update import Desired, Have

log = logging.getLogger(__name__)

MOST_WORKLOADS = 32
STOP_S = 4.0
STOP_LOOK_S = 0.05
DocumentT = TypeVar("DocumentT", Desired, Plan, Claimed, RawRequest)
_CHANGING = frozenset({State.SELFTEST, State.SHADOW, State.SWITCH, State.PROBATION, State.ROLLBACK})


class Daemon:
    """One agent, from `run` to its end."""

    def __init__(self, config: AgentConfig) -> None:
        """Take the state folder and put everything together; nothing runs yet.

        Raises:
            AlreadyRuns: Another agent has the state folder.
            ConfigurationError: The password cannot be read.
            TrustError: A trusted key is none.
        """
        self._config = config
        self._trust = Trust(config.trusted_keys)
        password = broker_password(config.broker)
        self._lock = StateLock(config.state_dir)
        prepare_folders(config)
        self._identity = Identity(config.state_dir)
        self._version = agent_version()
        cgroup.prepare()
        self._notifier = Notifier()
        self._cap_by = cap_kind() if config.memory_cap_bytes is not None else None
        self._loop = Loop()
        self._documents = Documents(self._loop)
        self._store = ArtifactStore(config.state_dir, config.artifacts_limit_bytes)
        will = presence(config, self._identity, self._version, False)
        self._link = Link(config.broker, password, will, lambda inbound: self._loop.post(partial(self._hear, inbound)))
        self._channel = BrokerChannel(self._link, config.fleet)
        self._reporter = Reporter(config, self._identity, self._version, self._link)
        self._downloads = Downloads(
            config.device, self._store, self._channel, self._loop, self._corrupted, on_fetched=self._fetched
        )
        captured = [name for name, served in config.serve.workloads.items() if served.capture is not None]
        outbox, sends = SampleOutbox(config.state_dir, captured), self._reporter.send_sample
        self._samples = SampleSender(
            outbox, self._loop, sends, lambda: bool(self._downloads.digests) or self._plan.measuring
        )
        self._claimer = Claimer(config.state_dir, self._link)
        self._plan = PlanRunner(self._plan_surroundings())
        self._workloads: dict[str, Workload] = {}
        self._gateway = GatewayProcess(self._loop, gateway_order(config, self._identity.boot_id), self._gateway_told)
        who, tells = (config.fleet, config.device), self._reporter.send_raw
        self._raw = RawTelling(who, self._loop, self._gateway, self._serves, tells)
        self._at_rest = IdleTemperature(config.state_dir / IDLE_NAME)
        self._pulse = MetricsPulse(self._loop, config.metrics_interval_s, self._say_metrics)

    def run(self) -> None:
        """Serve and listen until SIGTERM or SIGINT."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._loop.stop())
        cgroup.sweep()
        log.info(
            "agent %s: %s/%s, boot %s", self._version, self._config.fleet, self._config.device, self._identity.boot_id
        )
        self._loop.post(self._start)
        try:
            self._loop.run()
        finally:
            self._stop()

    # --- start and stop -------------------------------------------------------------------------------------------

    def _start(self) -> None:
        self._link.start()
        if self._config.serve.socket is not None or self._config.serve.http is not None:
            self._gateway.start()
        # All of them first: the first one's `Restarted` may collect garbage, and what nobody names is garbage.
        for workload in [self._workload(name) for name in saved_workloads(self._config.state_dir)]:
            workload.handle(Restarted())
        if self._store.free_bytes() < DISK_MARGIN_BYTES:
            self._collect_garbage(True)
        self._plan.advance()
        self._samples.start()
        self._pulse.start()
        self._notifier.ready()
        self._notifier.show_life(self._loop.after)

    def _stop(self) -> None:
        """End the children, then say goodbye. A second signal does not interrupt it."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        log.info("stopping")
        self._notifier.stopping()
        self._plan.stop()
        self._samples.stop()
        self._downloads.stop()
        for workload in self._workloads.values():
            workload.stop()
        self._gateway.stop()
        self._wait_for_children()
        self._link.stop(presence(self._config, self._identity, self._version, False))
        self._lock.release()

    def _wait_for_children(self) -> None:
        """Look once at least: records of trials that are complete may still be on their way."""
        for _ in range(round(STOP_S / STOP_LOOK_S)):
            self._loop.run_for(STOP_LOOK_S)
            if not self._gateway.busy and not any(each.serving.busy for each in self._workloads.values()):
                return

    # --- what arrives ---------------------------------------------------------------------------------------------

    def _hear(self, inbound: Inbound) -> None:
        match inbound:
            case ChunkReceived():
                self._channel.arrived(inbound)
            case DesiredReceived(workload, envelope):
                read = partial(self._trust.desired, envelope)
                self._check(workload, read, partial(self._desired, workload))
            case PlanReceived(envelope):
                self._check(None, partial(self._trust.plan, envelope), self._plan_arrived)
            case AckReceived(ack):
                self._plan.acknowledged(ack.trials)
                self._samples.acknowledged(ack.samples)
            case ClaimedReceived(envelope):
                self._check(None, partial(self._trust.claimed, envelope), self._claimer.answered)
            case RawReceived(envelope):
                self._check(None, partial(self._trust.raw, envelope), self._raw_asked)
            case Connected():
                self._connected()
            case Disconnected():
                pass  # serving goes on; the link keeps trying
            case Unreadable(topic, workload, reason, detail):
                self._refuse(workload, reason, f"{topic}: {detail}")

    def _connected(self) -> None:
        """Say everything again: the broker may have lost what it retained."""
        note_connected(self._config.state_dir, self._version, self._identity.boot_id, self._identity.now_s())
        self._claimer.advance()
        names = tuple(self._workloads)
        self._reporter.say_online(take_inventory(self._config, self._cap_by, self._store.free_bytes(), names))
        for workload in self._workloads.values():
            workload.report()
        self._downloads.ask_again()
        self._plan.connected()
        self._samples.connected()

    def _check(self, workload: str | None, read: Callable[[], DocumentT], take: Callable[[DocumentT], None]) -> None:
        """Have a document read, once its signature was found to hold, and taken."""

        def done(answer: DocumentT | WireError) -> None:
            if isinstance(answer, WireError):
                self._refuse(workload, answer.reason, str(answer))
            else:
                take(answer)

        if not self._documents.add(read, done):
            self._refuse(workload, "busy", f"{MOST_WAITING} documents wait to be checked already")

    def _desired(self, workload: str, desired: Desired) -> None:
        if desired.workload != workload or (desired.fleet, desired.device) != (self._config.fleet, self._config.device):
            meant = f"{desired.fleet}/{desired.device}/{desired.workload}"
            self._refuse(workload, "not_for_us", f"a document for {meant} came on the topic of {workload}", desired.gen)
            return
        if workload not in self._workloads and len(self._workloads) >= MOST_WORKLOADS:
            self._refuse(workload, "too_many_workloads", f"this device serves at most {MOST_WORKLOADS}", desired.gen)
            return
        self._identity.saw_signed(desired.issued_s)
        self._workload(workload).handle(DesiredArrived(desired, self._facts(self._serves(workload))))

    def _plan_arrived(self, plan: Plan) -> None:
        if (plan.fleet, plan.device) == (self._config.fleet, self._config.device):
            self._identity.saw_signed(plan.issued_s)
        self._plan.arrived(plan)

    def _raw_asked(self, request: RawRequest) -> None:
        self._raw.arrived(request, self._identity.now_s())

    def _refuse(self, workload: str | None, reason: str, detail: str, gen: int = 0) -> None:
        log.warning("refused (%s): %s", reason, detail)
        self._reporter.tell(workload, Tell("refused", gen, reason=reason, detail=detail))

    def _corrupted(self, artifact: str, chunk: str) -> None:
        detail = f"chunk {chunk[:12]} of {artifact[:12]} arrived damaged and is asked for again"
        self._reporter.tell(None, Tell("agent", 0, reason="chunk_corrupted", detail=detail))

    def _fetched(self, artifact: str, have: Have) -> None:
        received, reused = have.received_bytes or 0, have.reused_bytes or 0
        traffic = Traffic(artifact=artifact, received_bytes=received, reused_bytes=reused)
        detail = f"{artifact[:12]}: {received} bytes received, {reused} were here"
        self._reporter.tell(None, Tell("agent", 0, reason="fetched", detail=detail, traffic=traffic))

    # --- workloads ------------------------------------------------------------------------------------------------

    def _workload(self, name: str) -> Workload:
        """Return the workload, made on demand."""
        if name not in self._workloads:
            self._workloads[name] = self._make_workload(name)
        return self._workloads[name]

    def _serves(self, name: str) -> bool:
        return name in self._workloads and self._workloads[name].serving.bundle is not None

    def _make_workload(self, name: str) -> Workload:
        def tell(reason: str, detail: str) -> None:
            gen = self._workloads[name].saved.gen if name in self._workloads else 0
            self._reporter.tell(name, Tell("serving", gen, reason=reason, detail=detail))

        setup = RunSetup(self._loop, self._config, self._gateway)
        serving = Serving(name, setup, self._store.find, tell)
        folder = WorkloadFolder(self._config.state_dir / "workloads" / name)
        return Workload(folder, serving, self._shared())

    def _gateway_told(self, workload: str | None, reason: str, detail: str) -> None:
        gen = self._workloads[workload].saved.gen if workload in self._workloads else 0
        self._reporter.tell(workload, Tell("serving", gen, reason=reason, detail=detail))

    def _shared(self) -> Device:
        return Device(
            config=self._config,
            loop=self._loop,
            store=self._store,
            downloads=self._downloads,
            reporter=self._reporter,
            facts=self._facts,
            collect_garbage=self._collect_garbage,
            when_not_measuring=self._plan.when_not_measuring,
            committed=self._pulse.quicken,
        )

    def _facts(self, serving: bool = False) -> Facts:
        return Facts(
            fleet=self._config.fleet,
            device=self._config.device,
            engines=frozenset(engine.name for engine in find_engines(self._config.engines_allowed)),
            disk_free_bytes=self._store.free_bytes(),
            now_s=self._identity.now_s(),
            serving=serving,
            complete=self._store.digests(),
        )

    def _collect_garbage(self, is_short: bool) -> None:
        """Drop what nobody names. While the disk is short, plans keep only what they still need."""
        wanted = {digest for workload in self._workloads.values() for digest in workload.wanted()}
        planned = self._plan.agenda.open_artifacts() if is_short else self._plan.agenda.artifacts()
        self._store.collect(wanted | planned | self._downloads.digests, wanted | planned | self._downloads.digests)

    # --- measuring and metrics ------------------------------------------------------------------------------------

    def _plan_surroundings(self) -> Surroundings:
        return Surroundings(
            config=self._config,
            version=self._version,
            loop=self._loop,
            downloads=self._downloads,
            facts=self._facts,
            changing=lambda: any(workload.saved.state in _CHANGING for workload in self._workloads.values()),
            pause=self._pause_serving,
            resume=lambda: self._pause(False),
            hush=lambda interval_s: self._pulse.hush(interval_s),
            tell=lambda tell: self._reporter.tell(None, tell),
            send=self._reporter.send_part,
            collect_garbage=self._collect_garbage,
        )

    def _pause_serving(self) -> bool:
        """Pause all workloads; return whether queries are lost by it."""
        serve = self._config.serve
        served = [name for name, workload in self._workloads.items() if workload.serving.bundle is not None]
        self._pause(True)
        applications = serve.socket is not None or serve.http is not None
        return any(applications or serve.workload(name).source.kind != "none" for name in served)

    def _pause(self, paused: bool) -> None:
        self._gateway.pause(paused)
        for workload in self._workloads.values():
            workload.serving.pause(paused)

    def _say_metrics(self, interval_s: float, next_s: float) -> None:
        self._claimer.advance()
        self._at_rest.note(snapshot(), time.time())
        servings = [workload.serving for workload in self._workloads.values()]
        counted = [metrics for serving in servings for metrics in serving.tally.take(serving.bundle)]
        self._reporter.say_metrics(interval_s, tuple(counted), next_s)


def prepare_folders(config: AgentConfig) -> None:
    """Make the folders that workers use, and clear what an earlier run left of its orders."""
    state_dir = config.state_dir
    shutil.rmtree(state_dir / "run", ignore_errors=True)
    for folder in (state_dir / "run", state_dir / "workloads", config.kernel_cache):
        folder.mkdir(parents=True, exist_ok=True)
    if config.host_lock is not None:
        config.host_lock.parent.mkdir(parents=True, exist_ok=True)
