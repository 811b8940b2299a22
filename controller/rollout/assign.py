"""Which device belongs to which wave. Pure, and the same for the same fleet: chance comes from a hash.

Decides: that every class has canaries of its own, and that devices which are there come first (a canary that is off
tells nothing). Leaves out: which devices are in the rollout at all.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from controller.rollout.policy import RolloutPolicy


@dataclass(frozen=True)
class Candidate:
    """A device that the rollout is for."""

    device: str
    device_class: str
    online: bool = True


def assign_waves(policy: RolloutPolicy, rollout: str, candidates: Iterable[Candidate]) -> dict[str, int]:
    """Return device -> wave [from 0].

    Args:
        policy: Its waves reach, in each class, so many devices or such a share.
        rollout: Name of the rollout; another name spreads the canaries anew, so that no device is always first.
        candidates: Every device once, in any order.
    """
    by_class: defaultdict[str, list[Candidate]] = defaultdict(list)
    for candidate in candidates:
        by_class[candidate.device_class].append(candidate)
    waves: dict[str, int] = {}
    for members in by_class.values():
        members.sort(key=lambda each: (not each.online, _draw(rollout, each.device), each.device))
        reaches = [wave.reach(len(members)) for wave in policy.waves]
        for place, member in enumerate(members):
            waves[member.device] = next(number for number, reach in enumerate(reaches) if place < reach)
    return waves


def _draw(rollout: str, device: str) -> str:
    return hashlib.sha256(f"{rollout}\n{device}".encode()).hexdigest()
