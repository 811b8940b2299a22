"""How the device does now: the agent's own memory, free memory, temperature, load, throttling.

Decides: where each number comes from; what a device does not tell is null, never guessed. Leaves out: the workers'
conditions while they measure (`agent/measure/conditions.py`).
"""

import os
import time
from dataclasses import dataclass
from pathlib import Path

_KIB = 1024
MEMORY_EVERY_S = 10.0
"""Reading a proportional set size walks all pages: too dear for every line of metrics."""


@dataclass(frozen=True)
class Vitals:
    """One reading. Null where the device does not tell."""

    agent_pss_bytes: int | None
    memory_available_bytes: int | None
    temperature_celsius: float | None
    load_1m: float | None
    throttled: bool | None


class OwnMemory:
    """This process's proportional set size, read now and then."""

    def __init__(self, root: Path = Path("/"), every_s: float = MEMORY_EVERY_S) -> None:
        self._root = root
        self._every_s = every_s
        self._read_at: float | None = None
        self._bytes: int | None = None

    def pss_bytes(self) -> int | None:
        """Return what is in use, at most `every_s` old [bytes]; None where the kernel does not tell."""
        now = time.monotonic()
        if self._read_at is None or now - self._read_at >= self._every_s:
            self._read_at = now
            self._bytes = pss_bytes(self._root)
        return self._bytes


def pss_bytes(root: Path = Path("/")) -> int | None:
    """Return this process's proportional set size [bytes]; None where the kernel does not tell."""
    return _kib_line(root / "proc/self/smaps_rollup", "Pss:")


def read_vitals(root: Path = Path("/")) -> Vitals:
    """Return how the device does now."""
    return Vitals(
        agent_pss_bytes=pss_bytes(root),
        memory_available_bytes=_kib_line(root / "proc/meminfo", "MemAvailable:"),
        temperature_celsius=_hottest_celsius(root),
        load_1m=_load(),
        throttled=_throttled(root),
    )


def memory_bytes(root: Path = Path("/")) -> int:
    """Return the memory of the device [bytes]; 0 where it does not tell."""
    return _kib_line(root / "proc/meminfo", "MemTotal:") or 0


def sensor_names(root: Path = Path("/")) -> tuple[str, ...]:
    """Return what the device can tell of itself: temperatures by zone, throttling, pressure, power."""
    zones = sorted(root.glob("sys/class/thermal/thermal_zone*/type"))
    names = [f"temperature:{_text(zone) or zone.parent.name}" for zone in zones]
    names += ["throttled"] if _throttled(root) is not None else []
    names += [f"pressure:{path.name}" for path in sorted(root.glob("proc/pressure/*"))]
    names += [f"power:{_text(path) or path.parent.name}" for path in sorted(root.glob("sys/class/hwmon/*/name"))]
    return tuple(name[:64] for name in names[:64])


def _kib_line(path: Path, key: str) -> int | None:
    for line in _text(path).splitlines():
        if line.startswith(key):
            return int(line.split()[1]) * _KIB
    return None


def _hottest_celsius(root: Path) -> float | None:
    readings = [_text(path) for path in root.glob("sys/class/thermal/thermal_zone*/temp")]
    celsius = [int(reading) / 1000 for reading in readings if reading.lstrip("-").isdigit()]
    plausible = [degrees for degrees in celsius if -40 <= degrees <= 150]
    return max(plausible, default=None)


def _load() -> float | None:
    try:
        return os.getloadavg()[0]
    except OSError:
        return None


def _throttled(root: Path) -> bool | None:
    # The gateway counts its memory with this module, and has no use for the rest.
    from agent.measure.conditions.firmware import LIVE_BITS, throttled_bits

    bits = throttled_bits(root)
    return None if bits is None else bool(bits & LIVE_BITS)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
