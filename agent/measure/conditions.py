"""Under which conditions a number was taken: clocks, heat, pressure, load, processor, threads.

Decides: what is read and where. A reading that this device does not offer is null, never a guess. Leaves out: what
follows from the readings (`protocol.py`).
"""

import os
import platform
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
ROOT = Path("/")


def fixed_conditions() -> dict[str, Any]:
    """Return what does not change while a process runs."""
    return {
        "cpu_model": cpu_model(),
        "machine": platform.machine(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "affinity": sorted(os.sched_getaffinity(0)),
    }


def snapshot(root: Path = ROOT) -> dict[str, Any]:
    """Return the readings of this moment."""
    cpu = root / "sys/devices/system/cpu/cpu0/cpufreq"
    return {
        "governor": _text(cpu / "scaling_governor"),
        "frequency_khz": _number(cpu / "scaling_cur_freq"),
        "frequency_max_khz": _number(cpu / "scaling_max_freq"),
        "temperatures_celsius": temperatures_celsius(root),
        "throttled_bits": throttled_bits(root),
        "psi_cpu_some_avg10": pressure(root, "cpu"),
        "psi_memory_some_avg10": pressure(root, "memory"),
        "load_1m": _attempt(lambda: float(_read(root / "proc/loadavg").split()[0])),
        "steal_ticks": _attempt(lambda: int(_read(root / "proc/stat").split("\n", 1)[0].split()[8])),
    }


def interference(root: Path = ROOT) -> dict[str, int | None]:
    """Return what this process has lost to others since it started."""
    delays = [_run_delay_ns(path) for path in _threads(root, "schedstat")]
    switches = [_involuntary_switches(path) for path in _threads(root, "status")]
    return {
        "run_delay_ns": _total(delays),
        "involuntary_switches": _total(switches),
    }


def temperatures_celsius(root: Path = ROOT) -> dict[str, float] | None:
    """Return the thermal zones by type; None where there are none."""
    found: dict[str, float] = {}
    for zone in sorted((root / "sys/class/thermal").glob("thermal_zone*")):
        reading = _number(zone / "temp")
        if reading is not None:
            found[f"{zone.name}:{_text(zone / 'type') or '?'}"] = reading / 1000
    return found or None


def throttled_bits(root: Path = ROOT) -> int | None:
    """Return the firmware's throttle bits (Raspberry Pi kernels export them in sysfs); None elsewhere.

    Bits 0 to 3 hold now, 16 to 19 since the start; sysfs frequencies do not show this throttling.
    """
    for path in sorted((root / "sys/devices/platform/soc").glob("*firmware*/get_throttled")):
        return _attempt(partial(_hexadecimal, path))
    return None


def pressure(root: Path, what: str) -> float | None:
    """Return the share of the last ten seconds in which somebody waited for `what` [%]; None without PSI."""
    line = _attempt(lambda: _read(root / "proc/pressure" / what).split("\n", 1)[0])
    return None if line is None else _attempt(lambda: float(line.split("avg10=")[1].split()[0]))


def cpu_model(root: Path = ROOT) -> str | None:
    """Return the processor's own name, or that of the board where the processor has none."""
    for line in (_attempt(lambda: _read(root / "proc/cpuinfo")) or "").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    board = _text(root / "proc/device-tree/model")
    return board.rstrip("\0") if board else None


def _threads(root: Path, name: str) -> list[Path]:
    return sorted((root / "proc/self/task").glob(f"*/{name}"))


def _run_delay_ns(path: Path) -> int | None:
    return _attempt(lambda: int(_read(path).split()[1]))


def _involuntary_switches(path: Path) -> int | None:
    for line in (_attempt(lambda: _read(path)) or "").splitlines():
        if line.startswith("nonvoluntary_ctxt_switches"):
            return int(line.split()[1])
    return None


def _total(readings: list[int | None]) -> int | None:
    known = [reading for reading in readings if reading is not None]
    return sum(known) if known else None


def _hexadecimal(path: Path) -> int:
    return int(_read(path).strip(), 16)


def _read(path: Path) -> str:
    return path.read_text()


def _text(path: Path) -> str | None:
    return _attempt(lambda: _read(path).strip())


def _number(path: Path) -> int | None:
    return _attempt(lambda: int(_read(path).strip()))


def _attempt(read: Callable[[], T]) -> T | None:
    # Kernels differ in which of these files they have, and some refuse to be read while a sensor sleeps.
    try:
        return read()
    except (OSError, ValueError, IndexError):
        return None
