"""Why a device may stand out, as far as its conditions say, and what to do about it. Pure.

Decides: the order in which causes are tried (what explains most first), the evidence named, the remedy. The rest of the
class is the measure wherever a reading has no threshold of its own. Leaves out: whether the device stands out
(`effects`). A cause is likely, never proven: nothing here was varied on purpose.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

from controller.trial.fleetwide import thresholds as at
from controller.trial.fleetwide.readings import Readings

Cause = Literal[
    "other_hardware",
    "other_engine",
    "weak_supply",
    "bad_cooling",
    "other_clocks",
    "busy",
    "slow_card",
    "unknown",
    "unknown_there",
    "shared",
]

REMEDIES: dict[Cause, str] = {
    "other_hardware": "give the device a class of its own: it is another board than the rest",
    "other_engine": "bring its engine to the version that the rest of the class has; then measure again",
    "weak_supply": "give it the power supply that the board asks for, on a short cable, and take consumers off its USB",
    "bad_cooling": "clean or fit the heat sink and the fan, and let air to it; then measure again",
    "other_clocks": "set governor, frequency limits and power mode as on the rest of the class; then measure again",
    "busy": "stop or move what else runs on it, or measure in a window when it is quiet",
    "slow_card": "replace the memory card (class A2, or an SSD): starts and updates wait for it, answers do not",
    "unknown": "measure it again, then look by hand at what runs on it, its cooling and its supply",
    "unknown_there": "measure that variant there again; if it stays so, leave it out or give the device its own class",
    "shared": "measure on boards before looking for a cause",
}


@dataclass(frozen=True)
class Diagnosis:
    """The likely cause, what points to it, and what to do."""

    cause: Cause
    evidence: tuple[str, ...] = ()

    @property
    def remedy(self) -> str:
        """What to do about it."""
        return REMEDIES[self.cause]


Check = Callable[[Readings, Sequence[Readings]], list[str]]


def diagnose(own: Readings, rest: Sequence[Readings], *, slower: bool, all_variants: bool = True) -> Diagnosis:
    """Return the likely cause of a deviation in latency.

    Args:
        own: Of the device that stands out.
        rest: Of the other devices of its class.
        slower: Whether it is slower; a faster one can only have other hardware, another engine or other clocks.
        all_variants: Whether the whole device stands out. What slows a device down slows every variant, so that one
            variant alone can only come from hardware or engine.
    """
    made: list[tuple[Cause, Check]] = [("other_hardware", _hardware), ("other_engine", _engine)]
    slow: list[tuple[Cause, Check]] = [
        ("weak_supply", _supply),
        ("bad_cooling", _heat),
        ("other_clocks", _lower_clocks),
        ("busy", _busy),
    ]
    held: list[tuple[Cause, Check]] = slow if slower else [("other_clocks", _higher_clocks)]
    for cause, look in made + (held if all_variants else []):
        if evidence := look(own, rest):
            return Diagnosis(cause, tuple(evidence))
    return Diagnosis("unknown" if all_variants else "unknown_there")


def slow_card(own: Readings, rest: Sequence[Readings]) -> Diagnosis | None:
    """Return why loading from storage is slow on a device; None where it is not, or nobody measured it.

    The cold load is compared with the class's variant by variant, and the warm one shows that it is the card.
    """
    cold = _load_ratio(own.cold_ms, [each.cold_ms for each in rest])
    warm = _load_ratio(own.warm_ms, [each.warm_ms for each in rest])
    if cold is None or warm is None or cold < at.COLD_LOAD_RATIO or warm > at.WARM_LOAD_RATIO:
        return None
    return Diagnosis("slow_card", (f"cold load {cold:.1f}x the class's, warm load {warm:.1f}x",))


def _load_ratio(own: Mapping[str, float], rest: Sequence[Mapping[str, float]]) -> float | None:
    ratios = []
    for variant, milliseconds in own.items():
        others = [each[variant] for each in rest if each.get(variant, 0) > 0]
        if others:
            ratios.append(milliseconds / median(others))
    return median(ratios) if ratios else None


def _hardware(own: Readings, rest: Sequence[Readings]) -> list[str]:
    evidence = _another("processor", own.cpu_model, [each.cpu_model for each in rest])
    threads = {each.threads for each in rest if each.threads is not None}
    if own.threads is not None and len(threads) == 1 and own.threads not in threads:
        evidence.append(f"{own.threads} threads, the class {threads.pop()}")
    return evidence


def _engine(own: Readings, rest: Sequence[Readings]) -> list[str]:
    evidence = []
    for variant, version in sorted(own.engines.items()):
        evidence += _another("engine", version, [each.engines.get(variant) for each in rest])
    return list(dict.fromkeys(evidence))


def _supply(own: Readings, rest: Sequence[Readings]) -> list[str]:
    evidence = []
    if (own.throttled_bits or 0) & at.UNDER_VOLTAGE_BITS:
        evidence.append(f"the firmware saw under-voltage (bits {own.throttled_bits:#x})")
    if own.power_source == "battery" and any(each.power_source not in (None, "battery") for each in rest):
        evidence.append("it ran on its battery")
    return evidence


def _heat(own: Readings, rest: Sequence[Readings]) -> list[str]:
    evidence = []
    others = _middle([each.celsius for each in rest])
    if own.celsius is not None:
        hotter = others is not None and own.celsius >= others + at.HOTTER_CELSIUS
        if own.celsius >= at.HOT_CELSIUS or hotter:
            evidence.append(f"{own.celsius:.0f} °C" + ("" if others is None else f", the class {others:.0f} °C"))
    if (own.throttled_bits or 0) & at.HEAT_BITS:
        evidence.append(f"the firmware throttled (bits {own.throttled_bits:#x})")
    if own.slowing:
        evidence.append(f"slowed down by {', '.join(own.slowing)}")
    named = {"hot": "warm when measuring began", "throttled": "throttled while measuring"}
    evidence += [words for reason, words in named.items() if reason in own.flags]
    # By itself a rise within the loop is a sign of heat only where nobody else was busy.
    if (own.drift_ratio or 0) > at.DRIFT_RATIO and (evidence or not _busy(own, rest)):
        evidence.append(f"latency rose by {100 * (own.drift_ratio or 0):.0f} % within the timed loop")
    return evidence


def _lower_clocks(own: Readings, rest: Sequence[Readings]) -> list[str]:
    return _clocks(own, rest, lower=True)


def _higher_clocks(own: Readings, rest: Sequence[Readings]) -> list[str]:
    return _clocks(own, rest, lower=False)


def _clocks(own: Readings, rest: Sequence[Readings], *, lower: bool) -> list[str]:
    evidence = _another("governor", own.governor, [each.governor for each in rest])
    evidence += _another("power mode", own.power_mode, [each.power_mode for each in rest])
    pairs = (
        ("limited to", own.clock_limit_khz, _middle([each.clock_limit_khz for each in rest]), at.CLOCK_LIMIT_RATIO),
        ("running at", own.clock_khz, _middle([each.clock_khz for each in rest]), at.CLOCK_RATIO),
    )
    for words, mine, others, ratio in pairs:
        if mine and others and (mine / others < ratio if lower else others / mine < ratio):
            evidence.append(f"{words} {mine / 1000:.0f} MHz, the class {others / 1000:.0f} MHz")
    return evidence


def _busy(own: Readings, _: Sequence[Readings]) -> list[str]:
    evidence = []
    if (own.pressure_percent or 0) >= at.BUSY_PRESSURE_PERCENT:
        evidence.append(f"somebody waited for the processor {own.pressure_percent:.0f} % of the time")
    if (own.steal_ratio or 0) >= at.BUSY_STEAL_RATIO:
        evidence.append(f"{100 * (own.steal_ratio or 0):.0f} % of its time went to other virtual machines")
    if (own.disturbed_ratio or 0) >= at.BUSY_DISTURBED_RATIO:
        evidence.append(f"others ran during {100 * (own.disturbed_ratio or 0):.0f} % of the samples")
    named = {
        "busy_host": "busy when measuring began",
        "quota_throttled": "stopped by a CPU quota",
        "stalled": "stopped while measuring",
        "swapping": "short of memory",
    }
    return evidence + [words for reason, words in named.items() if reason in own.flags]


def _another(what: str, mine: str | None, others: Sequence[str | None]) -> list[str]:
    """Return that a device has another setting than all others that say theirs, where those agree."""
    known = {each for each in others if each is not None}
    if mine is None or len(known) != 1 or mine in known:
        return []
    return [f"{what} {mine}, the class {known.pop()}"]


def _middle(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None
