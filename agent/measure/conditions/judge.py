"""What readings mean: whether to begin, and what has disturbed a measurement. Pure: readings in, reasons out.

Decides: the limits. A reading that is missing speaks neither for nor against. Leaves out: what is done about a reason
(`agent/measure/flags.py` has the remedies).
"""

import math
from collections.abc import Mapping
from typing import Any

from agent.measure.conditions.firmware import LIVE_BITS, STICKY_SHIFT
from agent.measure.conditions.heat import processor_celsius, slowed_by

IDLE_PRESSURE_PERCENT = 2.0
"""Share of the last ten seconds in which somebody waited: above it the host is busy."""

BUSY_RATIO = 0.10
"""The same without PSI (Raspberry Pi OS switches it off): share of all cores' time that others used."""

WARM_CELSIUS = 5.0
"""So far above rest, or below the first trip point that slows the processor, a device is too hot to begin."""

STEAL_RATIO = 0.02
FEWEST_STEAL_TICKS = 2
"""One tick within a fifth of a second would be above the share by itself."""

SWAPPED_PAGES = 256
"""A mebibyte of pages of 4 KiB: less is the background's."""

LOST_RATIO = 0.05
"""Share of the time that was lost to others, or in which the process stood still."""

THROTTLED_TIME_RATIO = 0.01
FREQUENCY_FELL_RATIO = 0.10

WAITED_FOR = frozenset({"busy_host", "hot", "steal", "swapping", "throttled"})
"""Reasons against beginning that may pass by themselves."""

_HOLDS_LOWEST = frozenset({"intel_pstate", "amd-pstate-epp"})
"""Drivers whose `powersave` is the usual, dynamic governor."""

_SLOWING_TRIPS = ("passive", "hot", "critical")

Readings = Mapping[str, Any]


def preflight_reasons(
    now: Readings,
    idle_celsius: float | None = None,
    earlier: Readings | None = None,
    trip_points_celsius: Mapping[str, Mapping[str, float]] | None = None,
) -> tuple[str, ...]:
    """Return the reasons against beginning to measure now.

    Args:
        now: A snapshot.
        idle_celsius: Temperature at rest; None: not known, then only a trip point tells what is hot.
        earlier: A snapshot of a moment ago, a fifth of a second or more: counters need two.
        trip_points_celsius: By zone and kind.
    """
    earlier = earlier or {}
    checks = {
        "busy_host": _is_busy(now, earlier),
        "hot": _is_hot(now, idle_celsius, trip_points_celsius or {}),
        "throttled": _is_throttled_now(now),
        "steal": _steal_ratio(earlier, now) > STEAL_RATIO,
        "swapping": _is_short_of_memory(now) or _rose(earlier, now, "swapped_pages") > SWAPPED_PAGES,
        "powersave_governor": now.get("governor") == "powersave" and now.get("governor_driver") not in _HOLDS_LOWEST,
        "on_battery": now.get("power_source") == "battery",
    }
    return tuple(reason for reason, holds in checks.items() if holds)


def changed_flags(
    before: Readings, after: Readings, seconds: float, threads: int = 1, keeps_busy: bool = True
) -> list[str]:
    """Return what disturbed a measurement, from the readings at its begin and end.

    Args:
        before: A snapshot, with what `interference` returned.
        after: The same at the end.
        seconds: Wall time between the two.
        threads: Those that compute.
        keeps_busy: Whether one thread at least should have computed all the time; False where queries are waited for.
    """
    throttled = _is_throttled(before, after, seconds)
    checks = {
        "throttled": throttled,
        "throttled_briefly": not throttled and _throttle_count_rose(before, after),
        "frequency_fell": _fell(_fastest(before), _fastest(after)) or _firmware_fell(before, after),
        "frequency_capped": _is_capped(before, after),
        "quota_throttled": _rose(before, after, "quota_throttled_count") > 0,
        "steal": _steal_ratio(before, after) > STEAL_RATIO,
        "swapping": _rose(before, after, "swapped_pages") > SWAPPED_PAGES,
        "disturbed": _rose(before, after, "run_delay_ns") / 1e9 > LOST_RATIO * seconds * threads,
        "stalled": keeps_busy and _stood_still_s(before, after, seconds) > LOST_RATIO * seconds,
        "power_source_changed": _differs(before, after, "power_source"),
    }
    return [reason for reason, holds in checks.items() if holds]


def _is_busy(now: Readings, earlier: Readings) -> bool:
    waited = now.get("psi_cpu_some_avg10")
    if waited is not None:
        return bool(waited >= IDLE_PRESSURE_PERCENT)
    total, idle = _rose(earlier, now, "total_ticks"), _rose(earlier, now, "idle_ticks")
    return total > 0 and 1 - idle / total > BUSY_RATIO


def _is_hot(now: Readings, idle_celsius: float | None, trip_points: Mapping[str, Mapping[str, float]]) -> bool:
    temperatures = now.get("temperatures_celsius") or {}
    for zone, points in trip_points.items():
        first = min((points[kind] for kind in _SLOWING_TRIPS if kind in points), default=math.inf)
        if temperatures.get(zone, -math.inf) > first - WARM_CELSIUS:
            return True
    celsius = processor_celsius(temperatures)
    return celsius is not None and idle_celsius is not None and celsius > idle_celsius + WARM_CELSIUS


def _is_throttled_now(now: Readings) -> bool:
    return bool((now.get("throttled_bits") or 0) & LIVE_BITS) or bool(slowed_by(now.get("cooling")))


def _is_throttled(before: Readings, after: Readings, seconds: float) -> bool:
    sticky = (after.get("throttled_bits") or 0) >> STICKY_SHIFT
    if after.get("throttled_by") != "sysfs":
        # Reading the sysfs file resets the sticky bits, so that they are new; those of the mailbox stay.
        sticky &= ~((before.get("throttled_bits") or 0) >> STICKY_SHIFT)
    held_back_s = _rose(before, after, "throttle_time_ms") / 1e3
    now = _is_throttled_now(before) or _is_throttled_now(after)
    return now or bool(sticky & LIVE_BITS) or held_back_s > THROTTLED_TIME_RATIO * seconds


def _throttle_count_rose(before: Readings, after: Readings) -> bool:
    old, new = before.get("throttle_counts") or {}, after.get("throttle_counts") or {}
    return any(new[name] > old[name] for name in new.keys() & old.keys())


def _is_short_of_memory(now: Readings) -> bool:
    return (now.get("psi_memory_some_avg10") or 0.0) >= IDLE_PRESSURE_PERCENT


def _steal_ratio(before: Readings, after: Readings) -> float:
    total, stolen = _rose(before, after, "total_ticks"), _rose(before, after, "steal_ticks")
    return stolen / total if total > 0 and stolen >= FEWEST_STEAL_TICKS else 0.0


def _stood_still_s(before: Readings, after: Readings, seconds: float) -> float:
    """Return for how long the process neither ran nor waited for a processor; 0 where the kernel does not tell."""
    if not _both(before, after, "cpu_ns") or not _both(before, after, "run_delay_ns"):
        return 0.0
    accounted_ns = _rose(before, after, "cpu_ns") + _rose(before, after, "run_delay_ns")
    return max(0.0, seconds - accounted_ns / 1e9)


def _fastest(readings: Readings) -> float | None:
    # The loop keeps one core busy at least; the others may have gone to rest.
    return max(readings.get("frequencies_khz") or (), default=None)


def _is_capped(before: Readings, after: Readings) -> bool:
    old, new = before.get("frequencies_max_khz"), after.get("frequencies_max_khz")
    return bool(old and new and max(new) < max(old))


def _firmware_fell(before: Readings, after: Readings) -> bool:
    return _fell(before.get("firmware_arm_hz"), after.get("firmware_arm_hz"))


def _fell(old: float | None, new: float | None) -> bool:
    return old is not None and new is not None and new < (1 - FREQUENCY_FELL_RATIO) * old


def _both(before: Readings, after: Readings, name: str) -> bool:
    return before.get(name) is not None and after.get(name) is not None


def _differs(before: Readings, after: Readings, name: str) -> bool:
    return _both(before, after, name) and before[name] != after[name]


def _rose(before: Readings, after: Readings, name: str) -> int:
    """Return by how much a counter rose; 0 where it is missing, or was set back."""
    return max(0, after[name] - before[name]) if _both(before, after, name) else 0
