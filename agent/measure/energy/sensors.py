"""Which sensors tell energy or power, and what each of them sees.

Decides: the order in which sensors are preferred: rails of the board (INA monitors, a Jetson's service), the rails
behind a Raspberry Pi 5's PMIC, the processor's own counter (RAPL), the battery. What one sees differs, so that its name
goes with every number: joules compare only with joules of the same source. No sensor: none, never a guess from a
processor's nominal power. Source: Linux, Documentation/power/powercap/powercap.rst, Documentation/hwmon/ina3221.rst,
ina2xx.rst, sysfs-interface.rst, Documentation/ABI/testing/sysfs-class-power.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from agent.measure.conditions.firmware import gencmd
from agent.measure.conditions.read import ROOT, folders, hwmon, number, text
from agent.measure.energy.jetson import jtop_watts

BATTERY_LEAST_S = 60.0
"""A battery's gauge renews its reading every few seconds, or slower."""

LEAST_S = 10.0
COUNTER_EVERY_S = 0.1
RAIL_EVERY_S = 0.05
SLOW_EVERY_S = 0.5

LONGEST_GAP_S = 1.0
"""Power that was not looked at for longer is not known: the sensor fell out, or this process was held up."""

_INA2XX = ("ina209", "ina219", "ina220", "ina226", "ina230", "ina231", "ina237", "ina238", "ina260")
_WHOLE_BOARD = frozenset({"VDD_IN", "VIN", "POM_5V_IN", "5V_IN", "EXT5V"})
"""Labels of rails that feed all the others: with one of them, nothing is added up."""

_PMIC = re.compile(r"^\s*(\S+)_([AV])\s+(?:current|volt)\(\d+\)=([0-9]+(?:\.[0-9]+)?)[AV]", re.MULTILINE)


class Sensor(Protocol):
    """Adds up energy since it was made."""

    source: str
    every_s: float
    """How often it wants to be read."""
    least_s: float
    """Over less time its answer means nothing."""

    def joules(self, now_ns: int) -> float | None:
        """Return the energy until `now_ns` [J]; None where it could not be read."""


class Counter:
    """Energy counters of the processor's packages, each of which starts again from zero at its own range."""

    every_s = COUNTER_EVERY_S
    least_s = LEAST_S

    def __init__(self, source: str, zones: Iterable[Path]) -> None:
        self.source = source
        self._zones = list(zones)
        self._last_uj: list[int | None] = [number(zone / "energy_uj") for zone in self._zones]
        self._total_uj = 0

    def joules(self, now_ns: int) -> float | None:  # noqa: ARG002 - the counter knows how long it was
        readings = [number(zone / "energy_uj") for zone in self._zones]
        for place, (zone, reading, last) in enumerate(zip(self._zones, readings, self._last_uj, strict=True)):
            if reading is None or last is None:
                return None
            rise = reading - last
            if rise < 0:
                rise += number(zone / "max_energy_range_uj") or 0
            if rise < 0:
                return None
            self._total_uj += rise
            self._last_uj[place] = reading
        return self._total_uj / 1e6


class Power:
    """Power readings, added up by the trapezoid rule."""

    def __init__(
        self, source: str, watts: Callable[[], float | None], every_s: float = RAIL_EVERY_S, least_s: float = LEAST_S
    ) -> None:
        self.source = source
        self.every_s = every_s
        self.least_s = least_s
        self._watts = watts
        self._last: tuple[int, float] | None = None
        self._total_j = 0.0

    def joules(self, now_ns: int) -> float | None:
        watts = self._watts()
        if watts is None:
            return None
        if self._last is not None:
            at_ns, last_watts = self._last
            seconds = (now_ns - at_ns) / 1e9
            if seconds > max(LONGEST_GAP_S, 3 * self.every_s):
                return None
            self._total_j += (watts + last_watts) / 2 * seconds
        self._last = (now_ns, watts)
        return self._total_j


@dataclass(frozen=True)
class Rail:
    """One measured rail: its label, and how to read its power [W]."""

    label: str
    watts: Callable[[], float | None]


def find_sensor(root: Path = ROOT) -> Sensor | None:
    """Return a fresh sensor, the one that sees most of the device; None where there is none that answers."""
    for find in (_rails, _jtop, _pmic, _rapl, _battery):
        sensor = find(root)
        if sensor is not None:
            return sensor
    return None


def _rails(root: Path) -> Sensor | None:
    found = [rail for rail in _ina_rails(root) if rail.watts() is not None]
    whole = [rail for rail in found if rail.label.upper() in _WHOLE_BOARD][:1]
    chosen = whole or found
    if not chosen:
        return None
    return Power(f"ina:{'+'.join(rail.label for rail in chosen)}"[:64], lambda: _sum(rail.watts() for rail in chosen))


def _ina_rails(root: Path) -> list[Rail]:
    """Return the rails of all INA monitors: an INA3221 has three inputs, the others one."""
    found: list[Rail] = []
    for name, chip in hwmon(root, "ina3221"):
        for channel in (1, 2, 3):  # 4 and above are shunt voltages and their sum
            label = text(chip / f"in{channel}_label") or f"{name}.{channel}"
            if label != "NC" and number(chip / f"in{channel}_enable") != 0:
                found.append(Rail(label, _product(chip / f"in{channel}_input", chip / f"curr{channel}_input", 1e6)))
    for name, chip in hwmon(root, *_INA2XX):
        found.append(Rail(text(chip / "label") or name, _scaled(chip / "power1_input", 1e6)))
    return found


def _jtop(root: Path) -> Sensor | None:
    watts = jtop_watts(root)
    return Power("jtop:total", watts, every_s=SLOW_EVERY_S) if watts() is not None else None


def _pmic(root: Path) -> Sensor | None:
    if pmic_watts(gencmd(root, "pmic_read_adc")) is None:
        return None
    return Power("rpi_pmic:rails", lambda: pmic_watts(gencmd(root, "pmic_read_adc")))


def pmic_watts(answer: str | None) -> float | None:
    """Return the power of all rails behind a Raspberry Pi 5's PMIC, from its `pmic_read_adc` [W]; None elsewhere.

    What does not pass through the PMIC is not in it: USB devices, fan, the regulators' own losses.
    """
    amperes: dict[str, float] = {}
    volts: dict[str, float] = {}
    for rail, kind, value in _PMIC.findall(answer or ""):
        (amperes if kind == "A" else volts)[rail] = float(value)
    both = amperes.keys() & volts.keys()
    return sum(amperes[rail] * volts[rail] for rail in both) if both else None


def _rapl(root: Path) -> Sensor | None:
    """Packages and the memory beside them. Cores and graphics are inside the package, and not added to it."""
    for prefix in ("intel-rapl", "intel-rapl-mmio"):  # the second one shows the first one's packages again
        zones = [zone for zone in folders(root / "sys/class/powercap", f"{prefix}:*") if _is_counted(zone)]
        if zones and all(number(zone / "energy_uj") is not None for zone in zones):
            names = sorted({(text(zone / "name") or "?").partition("-")[0] for zone in zones}, reverse=True)
            return Counter(f"rapl:{'+'.join(names)}", zones)
    return None


def _is_counted(zone: Path) -> bool:
    name = text(zone / "name") or ""
    return name.startswith("package") or name == "dram"


def _battery(root: Path) -> Sensor | None:
    """The whole device, as its battery is emptied; nothing while it is charged."""
    for folder in folders(root / "sys/class/power_supply", "*"):
        if text(folder / "type") == "Battery" and text(folder / "scope") != "Device":
            watts = _discharge(folder)
            if watts() is not None:
                return Power(f"battery:{folder.name}", watts, every_s=SLOW_EVERY_S, least_s=BATTERY_LEAST_S)
    return None


def _discharge(folder: Path) -> Callable[[], float | None]:
    power = _scaled(folder / "power_now", 1e6)
    product = _product(folder / "voltage_now", folder / "current_now", 1e12)

    def watts() -> float | None:
        if text(folder / "status") != "Discharging":
            return None
        direct = power()
        reading = product() if direct is None else direct
        return None if reading is None else abs(reading)  # some drivers give a negative current while discharging

    return watts


def _product(voltage: Path, current: Path, scale: float) -> Callable[[], float | None]:
    def watts() -> float | None:
        volts, amperes = number(voltage), number(current)
        return None if volts is None or amperes is None else volts * amperes / scale

    return watts


def _scaled(path: Path, scale: float) -> Callable[[], float | None]:
    def watts() -> float | None:
        reading = number(path)
        return None if reading is None else reading / scale

    return watts


def _sum(readings: Iterable[float | None]) -> float | None:
    total = 0.0
    for reading in readings:
        if reading is None:
            return None
        total += reading
    return total
