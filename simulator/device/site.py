"""What all devices of one process share: the loop, the trusted keys, what is known of artifacts, the run's settings."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from agent.device.signature import HOLDS
from agent.device.signature import main as check_signature
from agent.serve.settings import BrokerConfig
from agent.update.trust import Trust
from simulator.device.library import Library
from simulator.draw import Shares
from simulator.network.loop import EpollLoop
from simulator.site.counts import Counts


class TrustHere(Trust):
    """The agent's trust, checked in this process: ten thousand devices cannot start one for each document."""

    def verify(self, key_id: str, signature: bytes, signed: bytes) -> bool:
        """Return whether the key `key_id` is trusted and made `signature` over `signed`."""
        key = self._keys.get(key_id)
        return key is not None and len(signature) == 64 and check_signature(key + signature + signed) == HOLDS


@dataclass(frozen=True)
class Settings:
    """One run. `speed`: virtual seconds in a second; `metrics_s`: between two metrics messages of a device [s]."""

    fleet: str
    devices: int
    trusted_keys: dict[str, str]
    broker: BrokerConfig = field(default_factory=BrokerConfig)
    password: str | None = field(default=None, repr=False)
    prefix: str = "sim-"
    seed: int = 1
    speed: float = 1.0
    metrics_s: float = 60.0
    connects_hz: float = 200.0
    shares: Shares = field(default_factory=Shares)


@dataclass(frozen=True)
class Site:
    """One process's part of a run."""

    settings: Settings
    trust: TrustHere
    loop: EpollLoop = field(default_factory=EpollLoop)
    library: Library = field(default_factory=Library)
    counts: Counts = field(default_factory=Counts)
    clock: Callable[[], float] = time.time

    def seconds(self, virtual_s: float) -> float:
        """Return how long virtual work takes here [s]."""
        return virtual_s / self.settings.speed
