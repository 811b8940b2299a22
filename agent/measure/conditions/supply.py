"""Where the power comes from, and which power mode was chosen.

Decides: what counts as running on the battery. Source: Linux, Documentation/ABI/testing/sysfs-class-power and
sysfs-platform_profile; NVIDIA, Jetson Linux Developer Guide, nvpmodel. Leaves out: how much power (`energy`).
"""

import re
from pathlib import Path

from agent.measure.conditions.read import ROOT, attempt, folders, number, text

JTOP_SOCKET = "run/jtop.sock"
_MODE = re.compile(r"<\s*POWER_MODEL\s+ID=(\d+)\s+NAME=(\S+)\s*>")


def power_source(root: Path = ROOT) -> str | None:
    """Return `mains` or `battery`; None where nothing says. Batteries of mice and keyboards do not count."""
    supplies = folders(root / "sys/class/power_supply", "*")
    own = [folder for folder in supplies if text(folder / "scope") != "Device"]
    outside = [number(folder / "online") for folder in own if text(folder / "type") in {"Mains", "USB"}]
    batteries = [text(folder / "status") for folder in own if text(folder / "type") == "Battery"]
    if any(outside):
        return "mains"
    if "Discharging" in batteries:
        return "battery"
    return "mains" if {"Charging", "Full", "Not charging"} & set(batteries) else None


def power_mode(root: Path = ROOT, asks_services: bool = False) -> str | None:
    """Return the chosen mode: a Jetson's nvpmodel with its name, a laptop's platform profile; None elsewhere.

    Args:
        root: Of the file system.
        asks_services: Whether jetson-stats may be asked as well: it loads much, so that no measuring process does.
    """
    status = text(root / "var/lib/nvpmodel/status")
    if status is not None:
        number_of_mode = attempt(lambda: int(status.partition(":")[2]))
        return None if number_of_mode is None else _named(root, number_of_mode)
    profile = text(root / "sys/firmware/acpi/platform_profile")
    return profile or (_mode_by_jtop(root) if asks_services else None)


def _named(root: Path, mode: int) -> str:
    names = {int(number): name for number, name in _MODE.findall(text(root / "etc/nvpmodel.conf") or "")}
    return f"{mode} {names[mode]}" if mode in names else str(mode)


def _mode_by_jtop(root: Path) -> str | None:
    """Ask jetson-stats, where its service runs: in a container nvpmodel's own files are out of sight."""
    if not (root / JTOP_SOCKET).exists():
        return None
    try:
        from jtop import jtop  # on a Jetson alone, and only if somebody has installed it

        with jtop() as jetson:
            return str(jetson.nvpmodel) if jetson.ok() and jetson.nvpmodel is not None else None
    except Exception:  # the library's own errors have no common base; no reading may raise
        return None
