"""Is the device slow, or the model? Devices that stand out, told apart by the control that rides in every trial. Pure.

Decides: the shared factor of a device (from the control), what a variant does on one device alone (the rest once the
control is divided out), and which of either stands out. Leaves out: why (`causes`).

A deviation is from the median of the class, on logarithms. From five devices on it is `likely` a fault where it is far
outside the class's robust spread (1.4826 times the median absolute deviation). With fewer that spread is chance; there,
and wherever one device alone is far off, it is called `possible`.

Source: Rousseeuw and Croux, JASA 88 (1993) 1273-1283.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import exp, sqrt
from statistics import fmean, median
from typing import Literal

import numpy as np
from scipy.stats import t as student

from controller.choose.measured import Estimate
from controller.trial.fleetwide import thresholds as at
from controller.trial.fleetwide.components import SEED

Certainty = Literal["likely", "possible"]
Kind = Literal["device", "control", "variant"]


@dataclass(frozen=True)
class Value:
    """Mean log latency of one variant on one device, and the variance of that mean that processes explain."""

    mean: float
    error: float


@dataclass(frozen=True)
class Deviation:
    """What stands out. `device`: the device, with its control; `variant`: one variant there alone; `control`: only it.

    `log`: deviation from the class's median, above 0 is slower. `agreeing` of `others` variants show it as well.
    """

    kind: Kind
    device: str
    variant: str
    log: float
    certainty: Certainty
    agreeing: int = 0
    others: int = 0

    @property
    def ratio(self) -> float:
        """Latency over that of the class; above 1 is slower."""
        return exp(self.log)


@dataclass(frozen=True)
class Normalised:
    """A variant with each device's own factor divided out by the control; over the devices that measured both.

    `speed_up`: control time / variant time on a device of the class, geometric mean; each bound holds with 95 %.
    `spread`: standard deviation between devices of what the variant does there beyond the control (log), with bounds.
    """

    speed_up: Estimate
    spread: float
    lower: float
    upper: float
    devices: int


Table = Mapping[str, Mapping[str, Value]]
"""Variant -> device -> value."""


def outlying(values: Mapping[str, Value], smallest_log: float = at.SMALLEST_LOG) -> dict[str, tuple[float, Certainty]]:
    """Return the devices that stand out, with their deviation and how sure that is.

    Args:
        values: Device -> value. Fewer than two: nobody can stand out.
        smallest_log: Deviations below it are not named.
    """
    if len(values) < 2:
        return {}
    if len(values) == 2:
        return _slower_of_two(values)
    middle = median(each.mean for each in values.values())
    away = {device: each.mean - middle for device, each in values.items()}
    alone = _alone(values, away)
    if len(values) < at.FEW_DEVICES:
        return alone
    scale = max(1.4826 * median(map(abs, away.values())), at.SPREAD_FLOOR_LOG)
    limit = max(_critical(len(values)) * scale, smallest_log)
    return alone | {
        device: (log, "likely")
        for device, log in away.items()
        if abs(log) > max(limit, at.NOISE_MULTIPLE * sqrt(values[device].error))
    }


def deviations(table: Table, control: str) -> list[Deviation]:
    """Return what stands out in a class: slow (or fast) devices first, then variants on one device alone.

    Args:
        table: Every variant that two or more devices measured.
        control: The variant that rides in every trial; nothing is told apart without it.
    """
    base = table.get(control, {})
    found = [_device(table, control, device, *seen) for device, seen in sorted(outlying(base).items())]
    alone = {each.device for each in found if each.kind == "control"}
    for variant in sorted(set(table) - {control}):
        both = sorted((set(table[variant]) & set(base)) - alone)
        beyond = {device: _difference(table[variant][device], base[device]) for device in both}
        seen_there = outlying(beyond, at.SMALLEST_OF_VARIANT_LOG)
        found += [Deviation("variant", device, variant, *seen) for device, seen in sorted(seen_there.items())]
    return found


def factors(table: Table, control: str) -> dict[str, tuple[float, float]]:
    """Return device -> its latency over the class's median: by the control, and as the median over all variants."""
    base = table.get(control, {})
    if len(base) < 2:
        return {}
    shared = {device: median(_from_middle(row, device) for row in table.values() if device in row) for device in base}
    return {device: (exp(_from_middle(base, device)), exp(shared[device])) for device in sorted(base)}


def normalised(variant: Mapping[str, Value], control: Mapping[str, Value]) -> Normalised | None:
    """Return a variant with the devices' own factors divided out; None for fewer than two devices with both."""
    both = sorted(set(variant) & set(control))
    if len(both) < 2:
        return None
    beyond = [_difference(variant[device], control[device]) for device in both]
    logs = np.array([each.mean for each in beyond])
    square, noise = float(logs.var(ddof=1)), fmean(each.error for each in beyond)
    freedom = len(both) - 1
    half = float(student.ppf(at.CONFIDENCE, freedom)) * sqrt(square / len(both))
    drawn = square * freedom / np.random.default_rng(SEED).chisquare(freedom, 2000) - noise
    lower, upper = np.sqrt(np.maximum(np.quantile(drawn, [1 - at.CONFIDENCE, at.CONFIDENCE]), 0.0))
    middle = -float(logs.mean())
    speed_up = Estimate(exp(middle), exp(middle - half), exp(middle + half))
    return Normalised(speed_up, sqrt(max(square - noise, 0.0)), float(lower), float(upper), len(both))


def _device(table: Table, control: str, device: str, log: float, certainty: Certainty) -> Deviation:
    others = [
        variant for variant in table if variant != control and device in table[variant] and len(table[variant]) > 1
    ]
    shares = [_from_rest(table[variant], device) / log for variant in others]
    agreeing = sum(share >= at.AGREEING_SHARE for share in shares)
    kind: Kind = "device" if agreeing >= at.AGREEING_SHARE * len(others) else "control"
    return Deviation(kind, device, control, log, certainty, agreeing, len(others))


def _from_middle(values: Mapping[str, Value], device: str) -> float:
    return values[device].mean - median(each.mean for each in values.values())


def _from_rest(values: Mapping[str, Value], device: str) -> float:
    return values[device].mean - median(each.mean for name, each in values.items() if name != device)


def _difference(variant: Value, control: Value) -> Value:
    return Value(variant.mean - control.mean, variant.error + control.error)


def _slower_of_two(values: Mapping[str, Value]) -> dict[str, tuple[float, Certainty]]:
    fast, slow = sorted(values, key=lambda device: (values[device].mean, device))
    gap = values[slow].mean - values[fast].mean
    noise = sqrt(values[slow].error + values[fast].error)
    return {slow: (gap, "possible")} if gap > max(at.SUSPECT_LOG, at.NOISE_MULTIPLE * noise) else {}


def _alone(values: Mapping[str, Value], away: Mapping[str, float]) -> dict[str, tuple[float, Certainty]]:
    """Return the one that is far from the median, and much farther than the next."""
    *_, following, farthest = sorted(away, key=lambda device: (abs(away[device]), device))
    noise = sqrt(values[farthest].error + fmean(each.error for each in values.values()))
    limit = max(at.SUSPECT_LOG, at.NOISE_MULTIPLE * noise, at.ALONE_MULTIPLE * abs(away[following]))
    return {farthest: (away[farthest], "possible")} if abs(away[farthest]) > limit else {}


def _critical(devices: int) -> float:
    return next(value for fewest, value in reversed(at.CRITICAL_DEVIATION) if devices >= fewest)
