"""Who a device is and whether it is there: presence, inventory, events, and the plea for retained state."""

from typing import Literal

from pydantic import Field

from wire import PROTOCOL, PROTOCOLS_BEHIND
from wire.base import Message, Name, ShortText
from wire.canonical import Digest
from wire.device_state import State


class Presence(Message):
    """Online or offline; retained. The offline one is the device's will, with a delay."""

    fleet: Name
    device: Name
    online: bool
    boot_id: str = Field(max_length=64)
    agent_version: str = Field(max_length=32)
    protocol: int = Field(default=PROTOCOL, ge=1)
    inventory: Digest | None = None
    at_s: float = Field(default=0.0, ge=0)


def protocol_fault(protocol: int, newest: int = PROTOCOL) -> str | None:
    """Return why a side that speaks up to `newest` does not serve a peer's `protocol`, and what to do; null if it does.

    >>> protocol_fault(4, newest=3)
    'speaks protocol 4, this controller 1 to 3: update the controller'
    """
    oldest = max(1, newest - PROTOCOLS_BEHIND)
    if oldest <= protocol <= newest:
        return None
    older_side = "controller" if protocol > newest else "agent"
    return f"speaks protocol {protocol}, this controller {oldest} to {newest}: update the {older_side}"


class EngineInfo(Message):
    """An engine that the agent found usable, with what it really offers.

    `providers`: execution providers or delegates that were seen to work. `unusable`: those that the engine lists, or
    whose library is on the device, and that do not work, each with the reason.
    """

    name: str = Field(max_length=32)
    version: str = Field(max_length=64)
    formats: tuple[str, ...] = Field(default=(), max_length=16)
    providers: tuple[str, ...] = Field(default=(), max_length=32)
    unusable: dict[str, ShortText] = Field(default_factory=dict, max_length=32)


class Inventory(Message):
    """What a device has; retained.

    `labels` come from the agent's configuration, and a fleet file may match on them. `emulated` is true where limits
    are imposed by configuration and not by the hardware; every output that shows such a device says so. `simulated` is
    true where there is no device at all, and every number was drawn from a model; such a device is `emulated` too, for
    readers that do not know the field. `sandbox` says
    what workers can be held by (`network`, `files`, `user`), `kernels` how they load pre- and post-processing.
    `broken_engines` are installed and cannot be loaded, each with the reason; they are not among `engines`.
    """

    fleet: Name
    device: Name
    soc: str = Field(max_length=200)
    machine: str = Field(max_length=32)
    cores: int = Field(ge=1)
    memory_bytes: int = Field(ge=0)
    memory_cap_bytes: int | None = Field(default=None, gt=0)
    memory_cap_by: str | None = Field(default=None, max_length=32)
    threads: int = Field(ge=1)
    os: str = Field(max_length=200)
    kernel: str = Field(max_length=200)
    python: str = Field(max_length=32)
    isa: tuple[str, ...] = Field(default=(), max_length=64)
    engines: tuple[EngineInfo, ...] = Field(default=(), max_length=32)
    sensors: tuple[str, ...] = Field(default=(), max_length=64)
    disk_free_bytes: int = Field(ge=0)
    labels: dict[str, str] = Field(default_factory=dict, max_length=64)
    emulated: bool = False
    simulated: bool = False
    host_id: str = Field(default="", max_length=64)
    workloads: tuple[Name, ...] = Field(default=(), max_length=64)
    sandbox: dict[str, str] = Field(default_factory=dict, max_length=16)
    kernels: str | None = Field(default=None, max_length=32)
    broken_engines: dict[str, ShortText] = Field(default_factory=dict, max_length=32)


class Traffic(Message):
    """What one artifact took: see `Have`."""

    artifact: Digest
    received_bytes: int = Field(ge=0)
    reused_bytes: int = Field(ge=0)


class Event(Message):
    """Something happened: a state change with its cause, or a refusal. `traffic` comes with the reason `fetched`."""

    fleet: Name
    device: Name
    workload: Name | None = None
    kind: Literal["state", "refused", "trial", "serving", "agent"]
    gen: int | None = Field(default=None, ge=0)
    old: State | None = None
    new: State | None = None
    reason: str | None = Field(default=None, pattern=r"^[a-z][a-z0-9_]{0,63}$")
    detail: ShortText = ""
    traffic: Traffic | None = None
    boot_id: str = Field(max_length=64)
    seq: int = Field(ge=0)
    at_s: float = Field(ge=0)


class Sync(Message):
    """'Send me my retained state': for brokers that keep none, or lost it."""

    fleet: Name
    device: Name
    boot_id: str = Field(max_length=64)


class Ack(Message):
    """The controller has stored these trials' records and these samples; the device may forget them."""

    trials: tuple[Name, ...] = Field(default=(), max_length=1000)
    samples: tuple[Name, ...] = Field(default=(), max_length=1000)
