"""What a device's records say of the conditions it measured under, as one set of readings. Pure.

Decides: which readings may explain a slow device, wherever they stand in a record (before and after each process, or of
the whole group). A reading that is missing, or has another type than it should, is None: records come from agents of
several releases. Leaves out: what follows from them (`causes`).
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from wire.trial import Phases, TrialRecord

_SLOWS = re.compile(r"cpufreq|devfreq|throttle|^processor$|powerclamp", re.IGNORECASE)
"""Cooling devices that slow the processor down; a fan is none."""
_PLAUSIBLE_CELSIUS = (-40.0, 150.0)
_LONGEST = 60
"""Texts of a device end up in sentences."""
Conditions = Mapping[str, Any]


@dataclass(frozen=True)
class Readings:
    """Of one device over all its trials; None where no record has it.

    `celsius`: the hottest moment. `throttled_bits`: all that were ever set. `slowing`: cooling devices that slowed the
    processor. `drift_ratio`: median rise within processes. `clock_khz`, `clock_limit_khz`: fastest core, median.
    By variant: `cold_ms`, `warm_ms`, load times, and `engines`, name and version. `flags`: reasons, each in most of the
    device's processes or trials.
    """

    celsius: float | None = None
    throttled_bits: int | None = None
    slowing: tuple[str, ...] = ()
    drift_ratio: float | None = None
    governor: str | None = None
    power_mode: str | None = None
    power_source: str | None = None
    clock_khz: float | None = None
    clock_limit_khz: float | None = None
    pressure_percent: float | None = None
    steal_ratio: float | None = None
    disturbed_ratio: float | None = None
    cpu_model: str | None = None
    threads: int | None = None
    cold_ms: Mapping[str, float] = field(default_factory=dict)
    warm_ms: Mapping[str, float] = field(default_factory=dict)
    engines: Mapping[str, str] = field(default_factory=dict)
    flags: frozenset[str] = frozenset()


def read(records: Sequence[TrialRecord]) -> Readings:
    """Return the readings of one device.

    Args:
        records: All that it sent for these trials, void ones as well.
    """
    every = [each for record in records for each in _all_conditions(record)]
    moments = [moment for each in every for moment in _moments(each)]
    bits = [int(value) for moment in moments if (value := _number(moment, "throttled_bits")) is not None]
    return Readings(
        celsius=max((value for moment in moments for value in _temperatures(moment)), default=None),
        throttled_bits=_any_of(bits),
        slowing=tuple(sorted({name for moment in moments for name in _slowing(moment)})),
        drift_ratio=_middle(_number(each, "drift_ratio") for each in every),
        governor=_usual(_text(moment, "governor") for moment in moments),
        power_mode=_usual(_text(each, "power_mode") for each in every),
        power_source=_usual(_text(moment, "power_source") for moment in moments),
        clock_khz=_middle(_clock(moment, "frequencies_khz", "frequency_khz") for moment in moments),
        clock_limit_khz=_middle(_clock(moment, "frequencies_max_khz", "frequency_max_khz") for moment in moments),
        pressure_percent=_middle(_number(_part(each, "before"), "psi_cpu_some_avg10") for each in every),
        steal_ratio=_middle(_steal(each) for each in every),
        disturbed_ratio=_middle(_number(each, "disturbed_ratio") for each in every),
        cpu_model=_usual(_text(each, "cpu_model") for each in every),
        threads=_usual(record.threads for record in records),
        cold_ms=_loads(records, cold=True),
        warm_ms=_loads(records, cold=False),
        engines={
            record.variant: f"{record.engine} {record.engine_version}" for record in records if record.engine_version
        },
        flags=_flags(records),
    )


def _all_conditions(record: TrialRecord) -> Iterator[Conditions]:
    yield record.conditions
    for replicate in record.replicates:
        yield replicate.conditions


def _moments(conditions: Conditions) -> Iterator[Conditions]:
    yield conditions
    yield _part(conditions, "before")
    yield _part(conditions, "after")


def _part(conditions: Conditions, name: str) -> Conditions:
    part = conditions.get(name)
    return part if isinstance(part, dict) else {}


def _number(conditions: Conditions, name: str) -> float | None:
    return _finite(conditions.get(name))


def _finite(value: object) -> float | None:
    usable = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e18
    return float(value) if usable and isinstance(value, int | float) and math.isfinite(value) else None


def _text(conditions: Conditions, name: str) -> str | None:
    value = conditions.get(name)
    return value[:_LONGEST] if isinstance(value, str) and value else None


def _temperatures(moment: Conditions) -> list[float]:
    lowest, highest = _PLAUSIBLE_CELSIUS
    known = map(_finite, _part(moment, "temperatures_celsius").values())
    return [value for value in known if value is not None and lowest <= value <= highest]


def _slowing(moment: Conditions) -> list[str]:
    devices = _part(moment, "cooling").items()
    return [
        str(name)[:_LONGEST]
        for name, state in devices
        if _SLOWS.search(str(name).partition(":")[0])
        and isinstance(state, list)
        and state
        and (_finite(state[0]) or 0) > 0
    ]


def _clock(moment: Conditions, by_core: str, first: str) -> float | None:
    cores = moment.get(by_core)
    known = [value for value in map(_finite, cores) if value is not None] if isinstance(cores, list) else []
    return max(known) if known else _number(moment, first)


def _steal(conditions: Conditions) -> float | None:
    names = ("steal_ticks", "total_ticks")
    before, after = ([_number(_part(conditions, when), name) for name in names] for when in ("before", "after"))
    if None in before or None in after:
        return None
    stolen, total = (late - early for early, late in zip(before, after, strict=True) if None not in (early, late))  # type: ignore[operator]
    return stolen / total if total > 0 and stolen >= 0 else None


def _loads(records: Sequence[TrialRecord], *, cold: bool) -> dict[str, float]:
    """Return the median load by variant [ms]; a load that found its pages in memory was none from storage."""
    by_variant: dict[str, list[float]] = {}
    for record in records:
        phases: Iterable[Phases] = record.cold_loads if cold else record.warm_loads
        times = [each.load_ms for each in phases if each.load_ms is not None and not (cold and each.cold is False)]
        by_variant.setdefault(record.variant, []).extend(times)
    return {variant: median(times) for variant, times in by_variant.items() if times}


def _flags(records: Sequence[TrialRecord]) -> frozenset[str]:
    processes = [each for record in records for each in record.replicates]
    by_process = Counter(reason for each in processes for reason in each.flags)
    by_trial = Counter(flag.reason for record in records for flag in record.flags)
    often = {reason for reason, count in by_process.items() if 2 * count > len(processes)}
    return frozenset(often | {reason for reason, count in by_trial.items() if 2 * count > len(records)})


def _any_of(bits: Sequence[int]) -> int | None:
    together = 0
    for each in bits:
        together |= each
    return together if bits else None


def _middle(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None


def _usual(values: Iterable[Any]) -> Any:
    counts = Counter(value for value in values if value is not None)
    return counts.most_common(1)[0][0] if counts else None
