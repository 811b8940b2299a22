"""All topic strings of the protocol. No other module spells one.

>>> Topics("farm-sensors").desired("pi-1", "main")
'thresher/1/farm-sensors/d/pi-1/w/main/desired'
>>> parse("thresher/1/farm-sensors/d/pi-1/w/main/reported")
Address(fleet='farm-sensors', kind='reported', device='pi-1', workload='main', item=None)
"""

import re
from dataclasses import dataclass

from wire import PROTOCOL
from wire.errors import BadTopic

SHARDS = 16
"""Want topics per fleet: the first hexadecimal digit of the bundle's digest."""

_NAME = r"[a-z0-9][a-z0-9._-]{0,62}"
_DIGEST = r"[0-9a-f]{64}"
_ROOT = f"thresher/{PROTOCOL}"
_PATTERNS = {
    "desired": f"d/(?P<device>{_NAME})/w/(?P<workload>{_NAME})/desired",
    "reported": f"d/(?P<device>{_NAME})/w/(?P<workload>{_NAME})/reported",
    "plan": f"d/(?P<device>{_NAME})/plan",
    "trial": f"d/(?P<device>{_NAME})/trial/(?P<item>{_NAME})",
    "sample": f"d/(?P<device>{_NAME})/sample/(?P<item>{_NAME})",
    "ack": f"d/(?P<device>{_NAME})/ack",
    "presence": f"d/(?P<device>{_NAME})/presence",
    "inventory": f"d/(?P<device>{_NAME})/inventory",
    "event": f"d/(?P<device>{_NAME})/event",
    "metrics": f"d/(?P<device>{_NAME})/metrics",
    "sync": f"d/(?P<device>{_NAME})/sync",
    "claim": f"d/(?P<device>{_NAME})/claim",
    "claimed": f"d/(?P<device>{_NAME})/claimed",
    "raw": f"d/(?P<device>{_NAME})/raw",
    "raw_part": f"d/(?P<device>{_NAME})/raw/(?P<item>{_NAME})",
    "want": r"want/(?P<item>[0-9a-f])",
    "chunk": f"b/(?P<workload>{_DIGEST})/c/(?P<item>{_DIGEST})",
}
_COMPILED = {kind: re.compile(f"{_ROOT}/(?P<fleet>{_NAME})/{pattern}") for kind, pattern in _PATTERNS.items()}


@dataclass(frozen=True)
class Address:
    """A topic taken apart. For chunks `item` is the chunk's digest; for trials and samples it is the id."""

    fleet: str
    kind: str
    device: str | None = None
    workload: str | None = None
    item: str | None = None
    bundle: str | None = None

    def __repr__(self) -> str:
        shown = f"fleet={self.fleet!r}, kind={self.kind!r}, device={self.device!r}, workload={self.workload!r}"
        extra = f", bundle={self.bundle!r}" if self.bundle else ""
        return f"Address({shown}, item={self.item!r}{extra})"


@dataclass(frozen=True)
class Topics:
    """The topics of one fleet. `+` may stand for a device or workload where a subscription is meant."""

    fleet: str

    def __post_init__(self) -> None:
        if not re.fullmatch(_NAME, self.fleet):
            raise BadTopic(f"fleet name {self.fleet!r} cannot stand in a topic: use a-z, 0-9, '.', '_' and '-'")

    def desired(self, device: str, workload: str) -> str:
        return self._of(device, f"w/{_checked(workload)}/desired")

    def reported(self, device: str, workload: str) -> str:
        return self._of(device, f"w/{_checked(workload)}/reported")

    def plan(self, device: str) -> str:
        return self._of(device, "plan")

    def trial(self, device: str, trial: str) -> str:
        return self._of(device, f"trial/{_checked(trial)}")

    def sample(self, device: str, sample: str) -> str:
        return self._of(device, f"sample/{_checked(sample)}")

    def raw(self, device: str) -> str:
        """Topic on which a device is asked for single queries."""
        return self._of(device, "raw")

    def raw_part(self, device: str, request: str) -> str:
        return self._of(device, f"raw/{_checked(request)}")

    def ack(self, device: str) -> str:
        return self._of(device, "ack")

    def presence(self, device: str) -> str:
        return self._of(device, "presence")

    def inventory(self, device: str) -> str:
        return self._of(device, "inventory")

    def event(self, device: str) -> str:
        return self._of(device, "event")

    def metrics(self, device: str) -> str:
        return self._of(device, "metrics")

    def sync(self, device: str) -> str:
        return self._of(device, "sync")

    def claim(self, device: str) -> str:
        return self._of(device, "claim")

    def claimed(self, device: str) -> str:
        return self._of(device, "claimed")

    def want(self, bundle: str) -> str:
        """Topic on which a device asks for chunks of `bundle`; the shard follows from the digest."""
        return f"{_ROOT}/{self.fleet}/want/{bundle[0]}"

    def wants(self) -> str:
        return f"{_ROOT}/{self.fleet}/want/+"

    def chunk(self, bundle: str, chunk: str) -> str:
        return f"{_ROOT}/{self.fleet}/b/{bundle}/c/{chunk}"

    def chunks(self, bundle: str) -> str:
        return f"{_ROOT}/{self.fleet}/b/{bundle}/c/+"

    def _of(self, device: str, rest: str) -> str:
        return f"{_ROOT}/{self.fleet}/d/{_checked(device)}/{rest}"


def parse(topic: str) -> Address:
    """Take a received topic apart.

    Raises:
        BadTopic: Not a topic of this protocol version.
    """
    for kind, pattern in _COMPILED.items():
        if match := pattern.fullmatch(topic):
            found = match.groupdict()
            if kind == "chunk":
                return Address(found["fleet"], kind, item=found["item"], bundle=found["workload"])
            return Address(found["fleet"], kind, found.get("device"), found.get("workload"), found.get("item"))
    raise BadTopic(f"{topic[:200]!r} is not a topic of protocol {PROTOCOL}")


def _checked(name: str) -> str:
    if name != "+" and not re.fullmatch(_NAME, name):
        raise BadTopic(f"{name!r} cannot stand in a topic: use a-z, 0-9, '.', '_' and '-', at most 63 characters")
    return name
