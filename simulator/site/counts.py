"""What the devices of one process have done, added up over processes.

>>> added([Counts(connected=2, states={"idle": 2}), Counts(connected=1, states={"idle": 1})]).states
{'idle': 3}
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class Counts:
    """Totals since the start, but for `connected`, `states` and `memory_bytes`, which are as of now."""

    devices: int = 0
    connected: int = 0
    sent: int = 0
    received: int = 0
    received_bytes: int = 0
    failed_connections: int = 0
    downloads: int = 0
    trials: int = 0
    refused: int = 0
    memory_bytes: int = 0
    """What the devices added to the process: its resident set, less that before the first one."""
    states: dict[str, int] = field(default_factory=dict)
    """State -> workloads in it. A device that was asked nothing has none."""

    def moved(self, old: str | None, new: str | None) -> None:
        """Note that a workload went from one state to another; null: it was not there, or is no more."""
        for state, step in ((old, -1), (new, 1)):
            if state is not None:
                self.states[state] = self.states.get(state, 0) + step

    def document(self) -> dict[str, Any]:
        """Return the counts as JSON values; states that nothing is in are left out."""
        return asdict(self) | {"states": {name: count for name, count in sorted(self.states.items()) if count}}


def added(parts: Iterable[Counts]) -> Counts:
    """Return the sums over processes."""
    total, states = Counts(), Counter[str]()
    for part in parts:
        states.update(part.states)
        for name, value in asdict(part).items():
            if name != "states":
                setattr(total, name, getattr(total, name) + value)
    total.states = dict(states)
    return total
