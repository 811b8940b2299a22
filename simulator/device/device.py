"""One simulated device: what arrives becomes events of the machine, as in the agent's daemon.

Decides: which workload a document belongs to, and when a device that vanishes or flaps does so. Leaves out: the
decisions (the agent's), the work (`workload.py`, `plan.py`) and the network (`simulator/network`).
"""

from collections.abc import Callable
from functools import partial
from random import Random
from typing import TypeVar

from agent.artifacts.channel import BrokerChannel
from agent.device.pulse import MetricsPulse
from agent.mqtt import (
    AckReceived,
    ChunkReceived,
    Connected,
    DesiredReceived,
    Inbound,
    PlanReceived,
    RawReceived,
    Unreadable,
)
from agent.update.vocabulary import DesiredArrived, Tell
from simulator.classes import SimulatedClass
from simulator.device.downloads import Downloads
from simulator.device.plan import VirtualPlan
from simulator.device.site import Site
from simulator.device.voice import Voice
from simulator.device.workload import Parts, VirtualWorkload, WhenNotMeasuring
from simulator.draw import traits_of
from simulator.network.link import PolledLink
from wire.device_state import State
from wire.errors import WireError
from wire.raw import RawRequest
from wire.trial import Plan
from wire.update import Desired

MOST_WORKLOADS = 32
VANISHES_S = (10.0, 120.0)
"""When a vanishing device goes for good, after it began [s]."""
FLAPS_S = (5.0, 30.0)
"""How long a flapping device is there [s]."""
AWAY_S = (1.0, 10.0)
"""How long it is away then [s]; every third time it lost its power."""
POWER_CUT_EVERY = 3
_CHANGING = frozenset({State.SELFTEST, State.SHADOW, State.SWITCH, State.PROBATION, State.ROLLBACK})
DocumentT = TypeVar("DocumentT", Desired, Plan, RawRequest)


class VirtualDevice:
    """One device, from `start` to `stop`. All methods belong to the loop's thread."""

    def __init__(self, site: Site, number: int, cls: SimulatedClass) -> None:
        settings = site.settings
        self._site = site
        self.name = f"{settings.prefix}{number:05d}"
        self._traits = traits_of(settings.seed, self.name, cls.latency, settings.shares)
        self._voice = Voice(site, self.name, cls)
        will = self._voice.presence(False)
        self._link = PolledLink(
            settings.broker, settings.password, will, self._hear, loop=site.loop, counts=site.counts
        )
        self._voice.link = self._link
        self._channel = BrokerChannel(self._link, settings.fleet)
        self._downloads = Downloads(self.name, self._channel, site.loop, site.library)
        self._parts = Parts(
            site,
            cls,
            self._traits,
            self._voice,
            self._downloads,
            WhenNotMeasuring(),
            committed=lambda: self._pulse.quicken(),
            collect_garbage=self._collect_garbage,
        )
        self._workloads: dict[str, VirtualWorkload] = {}
        self._plan = VirtualPlan(self._parts, self._is_changing)
        self._pulse = MetricsPulse(site.loop, settings.metrics_s, self._say_metrics, site.loop.now)
        self._chance = Random(f"{settings.seed}/{self.name}/faults")
        self._flaps = 0

    def start(self) -> None:
        """Connect, and begin to tell metrics somewhere in the interval that is this device's own."""
        self._link.start()
        self._site.loop.after(self._site.settings.metrics_s * self._traits.phase, self._pulse.start)
        if self._traits.vanishing:
            self._site.loop.after(self._chance.uniform(*VANISHES_S), lambda: self._link.drop(None))
        elif self._traits.flapping:
            self._site.loop.after(self._chance.uniform(*FLAPS_S), self._flap)

    def stop(self) -> None:
        """Say goodbye."""
        self._link.stop(self._voice.presence(False))

    # --- what arrives ---------------------------------------------------------------------------------------------

    def _hear(self, inbound: Inbound) -> None:
        match inbound:
            case ChunkReceived():
                self._channel.arrived(inbound)
            case DesiredReceived(workload, envelope):
                self._check(workload, partial(self._site.trust.desired, envelope), partial(self._desired, workload))
            case PlanReceived(envelope):
                self._check(None, partial(self._site.trust.plan, envelope), self._plan.arrived)
            case RawReceived(envelope):
                self._check(None, partial(self._site.trust.raw, envelope), self._raw_asked)
            case AckReceived(ack):
                self._plan.acknowledged(ack.trials)
            case Connected():
                self._connected()
            case Unreadable(topic, workload, reason, detail):
                self._refuse(workload, reason, f"{topic}: {detail}")
            case _:
                pass  # it keeps trying; claims are none of a simulated device's business

    def _connected(self) -> None:
        """Say everything again: the broker may have lost what it retained."""
        self._voice.say_online(tuple(self._workloads))
        for workload in self._workloads.values():
            workload.report()
        self._downloads.ask_again()
        self._plan.connected()

    def _check(self, workload: str | None, read: Callable[[], DocumentT], take: Callable[[DocumentT], None]) -> None:
        try:
            document = read()
        except WireError as exc:
            self._refuse(workload, exc.reason, str(exc))
            return
        self._site.loop.post(lambda: take(document))

    def _refuse(self, workload: str | None, reason: str, detail: str) -> None:
        self._voice.tell(workload, Tell("refused", 0, reason=reason, detail=detail))

    def _desired(self, name: str, desired: Desired) -> None:
        if name not in self._workloads and len(self._workloads) >= MOST_WORKLOADS:
            self._refuse(None, "too_many_workloads", f"{MOST_WORKLOADS} are known, {name} is one more")
            return
        if name not in self._workloads:
            self._workloads[name] = VirtualWorkload(name, self._parts)
        workload = self._workloads[name]
        serves = workload.serving.bundle is not None and workload.serving.bundle == workload.saved.active
        workload.handle(DesiredArrived(desired, self._parts.facts(serves)))

    def _raw_asked(self, request: RawRequest) -> None:
        self._refuse(request.workload, "not_simulated", "a simulated device has no single queries to tell of")

    # --- what it says and what befalls it -------------------------------------------------------------------------

    def _is_changing(self) -> bool:
        return any(workload.saved.state in _CHANGING for workload in self._workloads.values())

    def _say_metrics(self, interval_s: float, next_s: float) -> None:
        counted = [each.serving.take(name, interval_s) for name, each in self._workloads.items()]
        self._voice.say_metrics(interval_s, next_s, tuple(each for each in counted if each is not None))

    def _collect_garbage(self) -> None:
        wanted = {digest for workload in self._workloads.values() for digest in workload.wanted()}
        self._downloads.collect(wanted | self._plan.artifacts())

    def _flap(self) -> None:
        self._flaps += 1
        away_s = self._chance.uniform(*AWAY_S)
        if self._flaps % POWER_CUT_EVERY == 0:
            self._power_cut()
            self._site.loop.after(away_s, self._power_back)
        self._link.drop(away_s)
        self._site.loop.after(away_s + self._chance.uniform(*FLAPS_S), self._flap)

    def _power_cut(self) -> None:
        self._plan.power_cut()
        for workload in self._workloads.values():
            workload.power_cut()
        self._downloads.stop()

    def _power_back(self) -> None:
        self._voice.boot()
        self._link.next_will(self._voice.presence(False))
        for workload in self._workloads.values():
            workload.power_back()
        self._plan.advance()
