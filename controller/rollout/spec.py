"""What a caller asks of the rollout engine: which devices get which bundle, under which policy."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from controller.rollout.policy import RolloutPolicy
from wire.update import Limits


@dataclass(frozen=True)
class Member:
    """A device of the rollout and the bundle that was chosen for its class."""

    device: str
    device_class: str
    bundle: str


@dataclass(frozen=True)
class RolloutSpec:
    """A rollout to start. With `deployment`, starting it again gives the rollout that was started first."""

    fleet: str
    workload: str
    policy: RolloutPolicy
    members: tuple[Member, ...]
    deployment: str | None = None
    limits: Mapping[str, Limits] = field(default_factory=dict)
    """Device class -> what a variant may cost there; no limits where a class is left out."""
    retry_nonce: str = ""
    """Makes devices try a digest again that they had quarantined: only where an operator asked for it."""
    actor: str = "controller"
