"""The device's own voice: presence, inventory, reports, events and metrics, numbered and stamped.

Decides: what goes into each message, and that events which happened without a broker are told later. Leaves out: when
to speak. State needs no queue: it is published again on every connection.
"""

from collections import deque
from typing import Protocol

from agent.config import AgentConfig
from agent.device.identity import Identity
from agent.device.vitals import read_vitals
from agent.update.vocabulary import Saved, Tell
from wire.base import Message, encode
from wire.canonical import sha256_hex
from wire.presence import Event, Inventory, Presence, Sync
from wire.raw import RawPart
from wire.sample import SamplePart
from wire.telemetry import Metrics, WorkloadMetrics
from wire.topics import Topics
from wire.trial import TrialPart
from wire.update import Have, Reported

MOST_UNTOLD = 256
"""Events kept for a broker that is away; the oldest go first."""


MOST_WORKLOADS = 64
"""Entries of a metrics message: the workloads, and bundles that ended within the interval."""


class Publisher(Protocol):
    """What the reporter needs of the line to the broker."""

    def publish(self, topic: str, message: Message, retain: bool = False) -> bool:
        """Publish; False where the broker is away."""


def presence(config: AgentConfig, identity: Identity, version: str, online: bool) -> Presence:
    """Return the presence of this boot; the offline one is the will."""
    return Presence(
        fleet=config.fleet,
        device=config.device,
        online=online,
        boot_id=identity.boot_id,
        agent_version=version,
        at_s=identity.now_s(),
    )


class Reporter:
    """Builds the device's messages and publishes them."""

    def __init__(self, config: AgentConfig, identity: Identity, version: str, publisher: Publisher) -> None:
        self._config = config
        self._identity = identity
        self._version = version
        self._publisher = publisher
        self._topics = Topics(config.fleet)
        self._untold: deque[Event] = deque(maxlen=MOST_UNTOLD)

    def say_online(self, inventory: Inventory) -> None:
        """Publish inventory and presence, retained, and ask for what the broker may have lost."""
        device = self._config.device
        self._publisher.publish(self._topics.inventory(device), inventory, retain=True)
        digest = sha256_hex(encode(inventory))
        here = presence(self._config, self._identity, self._version, True).model_copy(update={"inventory": digest})
        self._publisher.publish(self._topics.presence(device), here, retain=True)
        sync = Sync(fleet=self._config.fleet, device=device, boot_id=self._identity.boot_id)
        self._publisher.publish(self._topics.sync(device), sync)
        self._tell_untold()

    def report(self, saved: Saved, active: str | None, serving: str | None, have: Have | None = None) -> None:
        """Publish what a workload is, retained.

        Args:
            saved: What the machine knows.
            active: Digest of the bundle that lies on the disk, whatever the state claims.
            serving: Digest of the bundle whose worker is ready.
            have: Progress of a download.
        """
        reported = Reported(
            fleet=self._config.fleet,
            device=self._config.device,
            workload=saved.workload,
            gen=saved.gen,
            epoch=saved.epoch,
            state=saved.state,
            attempt=saved.attempt,
            desired=saved.candidate,
            active=active,
            serving=serving,
            previous=saved.previous,
            quarantined=saved.quarantined,
            boot_id=self._identity.boot_id,
            seq=self._identity.next_seq(),
            at_s=self._identity.now_s(),
            error=saved.error,
            have=have,
        )
        self._publisher.publish(self._topics.reported(self._config.device, saved.workload), reported, retain=True)

    def tell(self, workload: str | None, tell: Tell) -> None:
        """Publish an event, now or when the broker is back."""
        event = Event.model_validate(
            {
                "fleet": self._config.fleet,
                "device": self._config.device,
                "workload": workload,
                "kind": tell.kind,
                "gen": tell.gen,
                "old": tell.old,
                "new": tell.new,
                "reason": tell.reason,
                "detail": tell.detail[:2000],
                "traffic": tell.traffic,
                "boot_id": self._identity.boot_id,
                "seq": self._identity.next_seq(),
                "at_s": self._identity.now_s(),
            }
        )
        self._untold.append(event)
        self._tell_untold()

    def send_part(self, part: TrialPart) -> bool:
        """Publish a slice of a trial's record."""
        return self._publisher.publish(self._topics.trial(self._config.device, part.trial), part)

    def send_sample(self, part: SamplePart) -> bool:
        """Publish a slice of a captured sample."""
        return self._publisher.publish(self._topics.sample(self._config.device, part.sample), part)

    def send_raw(self, part: RawPart) -> bool:
        """Publish records of single queries."""
        return self._publisher.publish(self._topics.raw_part(self._config.device, part.request), part)

    def say_metrics(
        self, interval_s: float, workloads: tuple[WorkloadMetrics, ...], next_s: float | None = None
    ) -> None:
        """Publish one interval; without a broker it is lost, as metrics may be.

        Args:
            interval_s: What it covers [s].
            workloads: What was counted; more than 64 are cut off.
            next_s: When the next one follows [s]; null: after another interval.
        """
        vitals = read_vitals()
        metrics = Metrics(
            fleet=self._config.fleet,
            device=self._config.device,
            boot_id=self._identity.boot_id,
            seq=self._identity.next_seq(),
            at_s=self._identity.now_s(),
            interval_s=interval_s,
            workloads=workloads[:MOST_WORKLOADS],
            next_s=next_s,
            agent_pss_bytes=vitals.agent_pss_bytes,
            memory_available_bytes=vitals.memory_available_bytes,
            temperature_celsius=vitals.temperature_celsius,
            load_1m=vitals.load_1m,
            throttled=vitals.throttled,
        )
        self._publisher.publish(self._topics.metrics(self._config.device), metrics)

    def _tell_untold(self) -> None:
        while self._untold:
            if not self._publisher.publish(self._topics.event(self._config.device), self._untold[0]):
                return
            self._untold.popleft()
