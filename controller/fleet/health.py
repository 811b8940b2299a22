"""Is a device well? Pure: from its view and the time.

Decides: which signs are trouble, worst first. Leaves out: what is done about it, and what is only shown (heat, load).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from controller.fleet.views import DeviceView, WorkloadView
from wire.device_state import FAILURES, TERMINAL, State
from wire.presence import protocol_fault

Level = Literal["good", "troubled", "absent"]

SILENT_INTERVALS = 3
"""So many metrics intervals without a message: the agent is there and says nothing."""
UNANSWERED_S = 300.0
"""A present device that has not answered a document for so long is stuck, or does not get it."""


@dataclass(frozen=True)
class Health:
    """How a device is, and why: short texts for people."""

    level: Level
    reasons: tuple[str, ...] = ()


def health_of(device: DeviceView, now_s: float) -> Health:
    """Return how a device is.

    Args:
        device: As last seen.
        now_s: Time [s since the epoch], by the clock that made the view's times.
    """
    fault = protocol_fault(device.protocol)
    if fault is not None:
        return Health("troubled", (fault,))
    if not device.online:
        return Health("absent", (f"offline, last seen {_ago(now_s - device.last_seen_s)}",))
    reasons = (*_of_agent(device, now_s), *(each for view in device.workloads.values() for each in _of(view, now_s)))
    return Health("troubled" if reasons else "good", reasons)


def _of_agent(device: DeviceView, now_s: float) -> Iterator[str]:
    if device.inventory is None:
        yield "has not said what it has (no inventory)"
    if device.metrics is not None and device.metrics_s is not None:
        silent_s = now_s - device.metrics_s
        if silent_s > SILENT_INTERVALS * (device.metrics.next_s or device.metrics.interval_s):
            yield f"last metrics {_ago(silent_s)}"
        if device.metrics.throttled:
            yield "throttles: too hot, or too little power"


def _of(view: WorkloadView, now_s: float) -> Iterator[str]:
    if view.state in FAILURES:
        reason = view.reported.error.code if view.reported and view.reported.error else view.state.value
        yield f"{view.workload}: {view.state.value} ({reason})"
    elif view.state is State.INCOMPATIBLE:
        yield f"{view.workload}: cannot run what it was asked to"
    issued_s = view.desired.issued_s if view.desired else now_s
    behind = view.reported is None or view.reported.gen < view.gen or view.state not in TERMINAL
    if view.gen and behind and now_s - issued_s > UNANSWERED_S:
        since = _ago(now_s - issued_s)
        yield f"{view.workload}: document {view.gen} of {since} is not carried out ({view.state.value})"


def _ago(seconds: float) -> str:
    for unit, length_s in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length_s:
            return f"{seconds / length_s:.0f} {unit} ago"
    return f"{max(0.0, seconds):.0f} s ago"
