"""Heat: temperatures, trip points, what cools, and what temperature is that of rest.

Decides: which reading stands for the processor, and when the device is at rest. Source: Linux,
Documentation/ABI/testing/sysfs-class-thermal. Leaves out: whether it is too hot to begin (`judge.py`).
"""

import json
import os
import re
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from agent.device.durable import WRITE_FAULTS, write_durably
from agent.measure.conditions.read import ROOT, attempt, folders, hwmon, number, text

IDLE_NAME = "idle_celsius.json"
"""Temperatures at rest, over restarts: what is hot is judged by them."""

COOLEST, HOTTEST = -40.0, 150.0
"""A reading outside is a sensor that is not connected [°C]."""

QUIET_PRESSURE_PERCENT = 2.0
QUIET_LOAD_PER_CORE = 0.25
NOTED_EVERY_S = 600.0
KEPT_S = 86_400.0
FEWEST_NOTED = 3

_PROCESSOR = re.compile(r"cpu|soc|tj|pkg|core|k10temp|zenpower|package", re.IGNORECASE)
_MONITORS = ("coretemp", "k10temp", "zenpower")
"""Monitors of processors that have no thermal zone of their own; a board's zones need none."""

_SLOWS = re.compile(r"cpufreq|devfreq|throttle|^processor$|powerclamp", re.IGNORECASE)
"""Cooling devices that slow the processor or the GPU down; a fan is none."""


def temperatures_celsius(root: Path = ROOT) -> dict[str, float] | None:
    """Return the thermal zones by type, and the processor's monitor where there is one; None where there is neither."""
    found: dict[str, float] = {}
    for zone in folders(root / "sys/class/thermal", "thermal_zone*"):
        reading = number(zone / "temp")
        if reading is not None:
            found[f"{zone.name}:{text(zone / 'type') or '?'}"] = reading / 1000
    for name, chip in hwmon(root, *_MONITORS):
        reading = number(chip / "temp1_input")
        if reading is not None:
            found[f"hwmon:{name}"] = reading / 1000
    return found or None


def processor_celsius(temperatures: Mapping[str, float] | None) -> float | None:
    """Return the hottest plausible reading of the processor; of anything, where none is named after it."""
    plausible = {name: degrees for name, degrees in (temperatures or {}).items() if COOLEST <= degrees <= HOTTEST}
    ours = [degrees for name, degrees in plausible.items() if _PROCESSOR.search(name.partition(":")[2])]
    return max(ours or plausible.values(), default=None)


def trip_points_celsius(root: Path = ROOT) -> dict[str, dict[str, float]] | None:
    """Return the lowest trip point of each kind (active, passive, hot, critical) by zone."""
    found: dict[str, dict[str, float]] = {}
    for zone in folders(root / "sys/class/thermal", "thermal_zone*"):
        points: dict[str, float] = {}
        for path in folders(zone, "trip_point_*_temp"):
            kind, reading = text(zone / path.name.replace("_temp", "_type")), number(path)
            if kind and reading is not None and reading > 0:  # below zero: switched off
                points[kind] = min(reading / 1000, points.get(kind, HOTTEST * 10))
        if points:
            found[f"{zone.name}:{text(zone / 'type') or '?'}"] = points
    return found or None


def cooling(root: Path = ROOT) -> dict[str, list[int | None]] | None:
    """Return (state, highest state) of what cools: fans, and what slows the processor down."""
    found: dict[str, list[int | None]] = {}
    for device in folders(root / "sys/class/thermal", "cooling_device*"):
        state, kind = number(device / "cur_state"), text(device / "type")
        if state is not None and kind:
            name = kind if kind not in found else f"{kind}:{device.name.removeprefix('cooling_device')}"
            found[name] = [state, number(device / "max_state")]
    return found or None


def slowed_by(cooling_devices: Mapping[str, Sequence[int | None]] | None) -> list[str]:
    """Return the cooling devices that slow the processor down now."""
    devices = (cooling_devices or {}).items()
    return [name for name, (state, *_) in devices if _SLOWS.search(name.partition(":")[0]) and (state or 0) > 0]


class IdleTemperature:
    """What the processor's temperature is at rest: the median of the quiet moments of the last day.

    The lowest reading would be that of a cold start, or of a cold night, and no busy day would come near it again. A
    moment counts where nobody waits for the processor and the load is low; one in ten minutes is kept. The file spares
    a restarted agent the first half hour, in which it does not know.
    """

    def __init__(self, path: Path | None = None, keeps: bool = True) -> None:
        """Read what is known.

        Args:
            path: File; null: nothing is known, and nothing kept.
            keeps: Whether what is noted goes to the file: it is the agent's, and others only read it.
        """
        self._path = path if keeps else None
        self._noted: list[tuple[float, float]] = _loaded(path)

    def note(self, snapshot: Mapping[str, Any], now_s: float) -> None:
        """Take a snapshot into account.

        Args:
            snapshot: What `snapshot()` returned.
            now_s: When, as `time.time()` says.
        """
        self._noted = [(at_s, degrees) for at_s, degrees in self._noted if now_s - KEPT_S < at_s <= now_s]
        celsius = processor_celsius(snapshot.get("temperatures_celsius"))
        if celsius is None or not _quiet(snapshot) or (self._noted and now_s - self._noted[-1][0] < NOTED_EVERY_S):
            return
        self._noted.append((round(now_s, 1), celsius))
        if self._path is not None:
            try:
                write_durably(self._path, json.dumps(self._noted).encode())
            except WRITE_FAULTS:
                self._path = None  # a card that refuses writes is told of elsewhere; this need not be kept

    def celsius(self, now_s: float) -> float | None:
        """Return the temperature at rest [°C]; None as long as too few quiet moments were seen."""
        recent = [degrees for at_s, degrees in self._noted if now_s - KEPT_S < at_s <= now_s]
        return statistics.median(recent) if len(recent) >= FEWEST_NOTED else None


def _quiet(snapshot: Mapping[str, Any]) -> bool:
    pressure, load = snapshot.get("psi_cpu_some_avg10"), snapshot.get("load_1m")
    if load is None or (pressure is not None and pressure >= QUIET_PRESSURE_PERCENT):
        return False
    return bool(load <= QUIET_LOAD_PER_CORE * (os.cpu_count() or 1))


def _loaded(path: Path | None) -> list[tuple[float, float]]:
    kept = None if path is None else attempt(lambda: json.loads(path.read_bytes()))
    pairs = kept if isinstance(kept, list) else []
    return [(pair[0], pair[1]) for pair in pairs if isinstance(pair, list) and _is_reading(pair)]


def _is_reading(pair: list[Any]) -> bool:
    known = len(pair) == 2 and all(isinstance(part, int | float) and not isinstance(part, bool) for part in pair)
    return known and COOLEST <= pair[1] <= HOTTEST
