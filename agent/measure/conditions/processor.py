"""The processor: what it may do (policies, boost, SMT), how fast it runs now, and how often it was held back.

Decides: which of the kernel's files say so. Source: Linux, Documentation/ABI/testing/sysfs-devices-system-cpu and
Documentation/admin-guide/pm/cpufreq.rst. Leaves out: what the firmware hides from the kernel (`firmware.py`).
"""

import os
import platform
from pathlib import Path
from typing import Any

from agent.measure.conditions.read import ROOT, attempt, fields, folders, hwmon, lines, number, text

CPU = "sys/devices/system/cpu"
_POLICY = {
    "driver": "scaling_driver",
    "governor": "scaling_governor",
    "preference": "energy_performance_preference",
    "cores": "affected_cpus",
}
_POLICY_KHZ = {
    "min_khz": "scaling_min_freq",
    "max_khz": "scaling_max_freq",
    "hardware_min_khz": "cpuinfo_min_freq",
    "hardware_max_khz": "cpuinfo_max_freq",
}
_TIME = ("core_throttle_total_time_ms", "package_throttle_total_time_ms")


def cpu_model(root: Path = ROOT) -> str | None:
    """Return the processor's own name, or that of the board where the processor has none."""
    for line in lines(root / "proc/cpuinfo"):
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return board_model(root)


def board_model(root: Path = ROOT) -> str | None:
    """Return the board's name from the device tree; None on machines without one."""
    return text(root / "proc/device-tree/model") or text(root / "sys/firmware/devicetree/base/model")


def processor(root: Path = ROOT) -> dict[str, Any]:
    """Return what the processor may do; nothing of it changes by itself."""
    return {
        "cpu_model": cpu_model(root),
        "board": board_model(root),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "cores_online": text(root / CPU / "online"),
        "affinity": sorted(os.sched_getaffinity(0)),
        "smt": _flag(root / CPU / "smt/active"),
        "boost": boost(root),
        "policies": policies(root),
        "clocksource": text(root / "sys/devices/system/clocksource/clocksource0/current_clocksource"),
    }


def policies(root: Path = ROOT) -> dict[str, dict[str, Any]] | None:
    """Return governor, driver and frequency limits [kHz] of each group of cores that shares a clock."""
    found = {folder.name: _policy(folder) for folder in folders(root / CPU / "cpufreq", "policy*")}
    if not found:
        found = {folder.parent.name: _policy(folder) for folder in folders(root / CPU, "cpu[0-9]*/cpufreq")}
    return {name: policy for name, policy in found.items() if policy} or None


def boost(root: Path = ROOT) -> bool | None:
    """Return whether the processor may go above its nominal clock."""
    turned_off = _flag(root / CPU / "intel_pstate/no_turbo")
    return _flag(root / CPU / "cpufreq/boost") if turned_off is None else not turned_off


def clocks(root: Path = ROOT) -> dict[str, Any]:
    """Return the clocks of this moment, as the kernel sees them [kHz; devices: Hz]."""
    first = root / CPU / "cpu0/cpufreq"
    return {
        "governor": text(first / "scaling_governor"),
        "governor_driver": text(first / "scaling_driver"),
        "frequency_khz": number(first / "scaling_cur_freq"),
        "frequency_max_khz": number(first / "scaling_max_freq"),
        "frequencies_khz": _by_core(root, "scaling_cur_freq"),
        "frequencies_max_khz": _by_core(root, "scaling_max_freq"),
        "devices_hz": _devices_hz(root),
    }


def throttle_counts(root: Path = ROOT) -> dict[str, int] | None:
    """Return how often the hardware has throttled since its start: x86 by core and package, Jetson by over-current.

    A package's count is the same on each of its cores: the largest is taken.
    """
    folders_x86 = folders(root / CPU, "cpu[0-9]*/thermal_throttle")
    by_core = _known(number(folder / "core_throttle_count") for folder in folders_x86)
    by_package = _known(number(folder / "package_throttle_count") for folder in folders_x86)
    events = [path for _, chip in hwmon(root, "soctherm_oc") for path in folders(chip, "oc*_event_cnt")]
    overcurrent = _known(number(path) for path in events)
    found = {
        **({"core": sum(by_core)} if by_core else {}),
        **({"package": max(by_package)} if by_package else {}),
        **({"overcurrent": sum(overcurrent)} if overcurrent else {}),
    }
    return found or None


def throttle_time_ms(root: Path = ROOT) -> int | None:
    """Return for how long the most throttled core or package was throttled since the start [ms]; x86 alone."""
    places = [folder / name for folder in folders(root / CPU, "cpu[0-9]*/thermal_throttle") for name in _TIME]
    return max(_known(number(path) for path in places), default=None)


def ticks(root: Path = ROOT) -> dict[str, int | None]:
    """Return how all cores together have spent their time since the start [ticks]. Source: proc(5), /proc/stat."""
    line = next(iter(lines(root / "proc/stat")), "")
    spent = (attempt(lambda: [int(part) for part in line.split()[1:9]]) or []) if line.startswith("cpu ") else []
    if len(spent) < 8:
        return {"steal_ticks": None, "idle_ticks": None, "total_ticks": None}
    return {"steal_ticks": spent[7], "idle_ticks": spent[3] + spent[4], "total_ticks": sum(spent)}


def swapped_pages(root: Path = ROOT) -> int | None:
    """Return how many pages went to swap and back since the start; compressed memory (zram) counts as well."""
    found = fields(root / "proc/vmstat")
    return found["pswpin"] + found["pswpout"] if {"pswpin", "pswpout"} <= found.keys() else None


def _policy(folder: Path) -> dict[str, Any]:
    words = {name: text(folder / file) for name, file in _POLICY.items()}
    limits = {name: number(folder / file) for name, file in _POLICY_KHZ.items()}
    return {name: value for name, value in {**words, **limits}.items() if value is not None}


def _by_core(root: Path, name: str) -> list[int] | None:
    return _known(number(folder / name) for folder in folders(root / CPU, "cpu[0-9]*/cpufreq")) or None


def _devices_hz(root: Path) -> dict[str, int] | None:
    """Clocks of what the processor shares the chip with: a Jetson's GPU, a memory controller."""
    clocked = folders(root / "sys/class/devfreq", "*")
    rates = {folder.name: rate for folder in clocked if (rate := number(folder / "cur_freq")) is not None}
    return rates or None


def _flag(path: Path) -> bool | None:
    found = number(path)
    return None if found is None else found != 0


def _known(readings: Any) -> list[int]:
    return [reading for reading in readings if reading is not None]
