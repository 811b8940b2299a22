"""How fast a variant is, and how much faster than the control. The process is the unit of replication.

Decides: speed-up with its interval, percentiles with their bounds. Leaves out: which samples count (`trial.summary`).
Pure; numpy and scipy.

Queries of one process share its memory layout, its heat and its neighbours: treating them as independent would call
most pairs of equal variants different. So a speed-up is compared over the medians of fresh processes. The
median latency is the geometric mean of those medians, so that a speed-up is the ratio of two median latencies. Tail
percentiles are over queries, as many of each process, and their order-statistic bounds do take them as independent.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp, inf, log, sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom
from scipy.stats import t as student

from controller.choose.measured import Estimate


@dataclass(frozen=True)
class SpeedUp:
    """Control time / variant time; above 1 the variant is faster. Two-sided 95 % bounds."""

    ratio: float
    lower: float
    upper: float

    def __str__(self) -> str:
        if self.lower == 0 or self.upper == inf:
            return f"{self.ratio:.2f}x (no interval: too few processes)"
        return f"{self.ratio:.2f}x ({self.lower:.2f} to {self.upper:.2f})"


def speed_up(control_ns: Sequence[float], variant_ns: Sequence[float], confidence: float = 0.95) -> SpeedUp:
    """Return the speed-up by Welch's t on the logarithms of process medians.

    Args:
        control_ns: Median latency of each fresh process of the control [ns], > 0.
        variant_ns: The same of the variant; measured interleaved with the control.
        confidence: Two-sided, in (0, 1).
    Returns:
        Ratio of geometric means; bounds 0 and infinity where a side has fewer than two processes.
    Raises:
        ValueError: A side is empty, or a time is not positive.
    Source: Welch, Biometrika 34 (1947) 28-35.
    """
    if not control_ns or not variant_ns or min(*control_ns, *variant_ns) <= 0:
        raise ValueError("a speed-up needs positive medians of both sides")
    control, variant = np.log(np.asarray(control_ns, float)), np.log(np.asarray(variant_ns, float))
    gain = float(control.mean() - variant.mean())
    if min(len(control), len(variant)) < 2:
        return SpeedUp(exp(gain), 0.0, inf)
    half = _half_width(control, variant, confidence)
    return SpeedUp(exp(gain), exp(gain - half), exp(gain + half))


def fleet_speed_up(control_ns: Mapping[str, Sequence[float]], variant_ns: Mapping[str, Sequence[float]]) -> SpeedUp:
    """Return the speed-up over the devices that measured both: geometric mean, and the widest bounds of any device.

    Raises:
        ValueError: No device measured both.
    """
    both = sorted(set(control_ns) & set(variant_ns))
    if not both:
        raise ValueError("no device measured both the control and the variant")
    found = [speed_up(control_ns[device], variant_ns[device]) for device in both]
    ratio = exp(sum(log(each.ratio) for each in found) / len(found))
    return SpeedUp(ratio, min(each.lower for each in found), max(each.upper for each in found))


def median_latency(process_medians_ns: Sequence[float], confidence: float = 0.95) -> Estimate | None:
    """Return the median latency over processes, each counted alike: a fast one answers more queries in its time.

    Args:
        process_medians_ns: Median latency of each fresh process [ns], > 0.
        confidence: Two-sided, in (0, 1).
    Returns:
        Geometric mean with its t interval on the logarithms; no bounds for one process; None without any.
    """
    if not process_medians_ns:
        return None
    logs = np.log(np.asarray(process_medians_ns, float))
    middle = float(logs.mean())
    if len(logs) < 2:
        return Estimate(exp(middle), 0.0, inf)
    half = float(student.ppf((1 + confidence) / 2, len(logs) - 1)) * float(logs.std(ddof=1)) / sqrt(len(logs))
    return Estimate(exp(middle), exp(middle - half), exp(middle + half))


def percentile(samples_ns: NDArray[np.int64], fraction: float, confidence: float = 0.95) -> Estimate | None:
    """Return a percentile by nearest rank with one-sided order-statistic bounds.

    Args:
        samples_ns: Latency per query [ns], shape (n,), warm-up removed, any order.
        fraction: In (0, 1), e.g. 0.95.
        confidence: Of each bound by itself, in (0.5, 1).
    Returns:
        Latency [ns]; None where no sample is large enough a bound (n < 59 for p95 and n < 299 for p99 at 95 %).
    Source: Hyndman and Fan 1996, type 1; David and Nagaraja, Order Statistics (2003), section 7.1.
    """
    n = len(samples_ns)
    if n == 0 or 1 - fraction**n < confidence:
        return None
    ordered = np.sort(samples_ns)
    rank = int(np.ceil(fraction * n - 1e-9))
    above = int(binom.ppf(confidence, n, fraction)) + 1  # smallest k with P(fewer than k below) >= confidence
    below = int(binom.ppf(1 - confidence, n, fraction))  # largest j with P(at least j below) >= confidence
    return Estimate(float(ordered[rank - 1]), float(ordered[max(below, 1) - 1]), float(ordered[min(above, n) - 1]))


def _half_width(control: NDArray[np.float64], variant: NDArray[np.float64], confidence: float) -> float:
    parts = np.array([control.var(ddof=1) / len(control), variant.var(ddof=1) / len(variant)])
    total = float(parts.sum())
    if total == 0:
        return 0.0
    freedom = total**2 / float(np.sum(parts**2 / (np.array([len(control), len(variant)]) - 1)))
    return float(student.ppf((1 + confidence) / 2, freedom)) * sqrt(total)
