"""What a simulated device says of itself: the agent's messages, with a mark that nothing in them was measured.

Decides: the mark (`simulated` and `emulated` in the inventory, a system on chip that says so), numbers and stamps of
messages, and that events which happened without a broker are told later. Leaves out: when to speak.
"""

import itertools
import secrets
from collections import deque
from random import Random

from agent.inventory import agent_version
from agent.update.vocabulary import Saved, Tell
from simulator.classes import SimulatedClass
from simulator.device.site import Site
from simulator.network.link import PolledLink
from wire.base import encode
from wire.canonical import sha256_hex
from wire.presence import EngineInfo, Event, Inventory, Presence, Sync
from wire.telemetry import Metrics, WorkloadMetrics
from wire.topics import Topics
from wire.trial import TrialPart
from wire.update import Have, Reported

DISK_FREE_BYTES = 16 * 1024**3
MOST_UNTOLD = 32
SOC = "simulated"
VERSION = agent_version()
_RUN = secrets.token_hex(4)
"""Another one each run: reports of an earlier run's boots must not pass for this one's."""


class Voice:
    """One device's messages. `link` is set before anything is said."""

    link: PolledLink

    def __init__(self, site: Site, device: str, cls: SimulatedClass) -> None:
        self._site = site
        self._fleet, self.device, self._cls = site.settings.fleet, device, cls
        self._topics = Topics(site.settings.fleet)
        self._untold: deque[Event] = deque(maxlen=MOST_UNTOLD)
        self._boots = 0
        self.boot()

    def boot(self) -> None:
        """Begin another life: its messages are numbered from the start."""
        self._boots += 1
        self._boot_id = f"{self._boots}-{_RUN}"
        self._numbers = itertools.count()

    def presence(self, online: bool) -> Presence:
        """Return the presence of this boot; the offline one is the will."""
        now_s = self._site.clock()
        return Presence(
            fleet=self._fleet,
            device=self.device,
            online=online,
            boot_id=self._boot_id,
            agent_version=VERSION,
            at_s=now_s,
        )

    def say_online(self, workloads: tuple[str, ...]) -> None:
        """Publish inventory and presence, retained, and ask for what the broker may have lost."""
        inventory = inventory_of(self._fleet, self.device, self._cls, workloads)
        self.link.publish(self._topics.inventory(self.device), inventory, retain=True)
        here = self.presence(True).model_copy(update={"inventory": sha256_hex(encode(inventory))})
        self.link.publish(self._topics.presence(self.device), here, retain=True)
        sync = Sync(fleet=self._fleet, device=self.device, boot_id=self._boot_id)
        self.link.publish(self._topics.sync(self.device), sync)
        self._tell_untold()

    def report(self, saved: Saved, active: str | None, serving: str | None, have: Have | None) -> None:
        """Publish what a workload is, retained."""
        reported = Reported(
            fleet=self._fleet,
            device=self.device,
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
            boot_id=self._boot_id,
            seq=next(self._numbers),
            at_s=self._site.clock(),
            error=saved.error,
            have=have,
        )
        self.link.publish(self._topics.reported(self.device, saved.workload), reported, retain=True)

    def tell(self, workload: str | None, tell: Tell) -> None:
        """Publish an event, now or when the broker is back."""
        if tell.kind == "refused":
            self._site.counts.refused += 1
        event = Event.model_validate(
            {
                "fleet": self._fleet,
                "device": self.device,
                "workload": workload,
                "kind": tell.kind,
                "gen": tell.gen,
                "old": tell.old,
                "new": tell.new,
                "reason": tell.reason,
                "detail": tell.detail[:2000],
                "boot_id": self._boot_id,
                "seq": next(self._numbers),
                "at_s": self._site.clock(),
            }
        )
        self._untold.append(event)
        self._tell_untold()

    def send_part(self, part: TrialPart) -> bool:
        """Publish a slice of a trial's record."""
        return self.link.publish(self._topics.trial(self.device, part.trial), part)

    def say_metrics(self, interval_s: float, next_s: float, workloads: tuple[WorkloadMetrics, ...]) -> None:
        """Publish one interval, with vitals that were drawn."""
        chance = Random(f"{self._site.settings.seed}/{self.device}/{self._boot_id}/{interval_s}")
        busy = min(1.0, self._cls.queries_per_second * self._cls.latency.median_ms / 1e3) if workloads else 0.0
        metrics = Metrics(
            fleet=self._fleet,
            device=self.device,
            boot_id=self._boot_id,
            seq=next(self._numbers),
            at_s=self._site.clock(),
            interval_s=interval_s,
            workloads=workloads,
            next_s=next_s,
            agent_pss_bytes=int(chance.gauss(40e6, 1e6)),
            memory_available_bytes=int(self._cls.memory_bytes * chance.uniform(0.4, 0.6)),
            temperature_celsius=round(chance.gauss(45.0 + 20.0 * busy, 1.5), 1),
            load_1m=round(busy * chance.uniform(0.8, 1.2), 2),
            throttled=False,
        )
        self.link.publish(self._topics.metrics(self.device), metrics)

    def _tell_untold(self) -> None:
        while self._untold:
            if not self.link.publish(self._topics.event(self.device), self._untold[0]):
                return
            self._untold.popleft()


def inventory_of(fleet: str, device: str, cls: SimulatedClass, workloads: tuple[str, ...]) -> Inventory:
    """Return what a device of this class says it has; it says itself that it is simulated."""
    return Inventory(
        fleet=fleet,
        device=device,
        soc=f"{SOC} {cls.soc}",
        machine=cls.machine,
        cores=cls.cores,
        memory_bytes=cls.memory_bytes,
        threads=1,
        os=SOC,
        kernel=SOC,
        python="",
        engines=tuple(EngineInfo(name=name, version=version) for name, version in cls.engines.items()),
        disk_free_bytes=DISK_FREE_BYTES,
        labels={**cls.labels, "simulated": cls.name},
        emulated=True,
        simulated=True,
        host_id=device,
        workloads=workloads,
    )
