"""How fast a variant is, and how much faster than the control. The process is the unit of replication.

Decides: speed-up with its interval, percentiles with their bounds. Leaves out: which samples count (`trial.summary`)
and the statistics themselves (`wire.statistics`). Pure; numpy to put samples in order.

Queries of one process share its memory layout, its heat and its neighbours: treating them as independent would call
most pairs of equal variants different. So a speed-up is compared over the medians of fresh processes. The
median latency is the geometric mean of those medians, so that a speed-up is the ratio of two median latencies. Tail
percentiles are over queries, as many of each process, and their order-statistic bounds do take them as independent.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp, inf, log

import numpy as np
from numpy.typing import NDArray

from controller.choose.measured import Estimate
from wire.statistics import bound_ranks, fewest_samples, log_interval, nearest_rank, welch_ratio


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
    return SpeedUp(*welch_ratio(variant_ns, control_ns, confidence))


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
    if len(process_medians_ns) < 2:
        return Estimate(float(process_medians_ns[0]), 0.0, inf)
    return Estimate(*log_interval(process_medians_ns, confidence))


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
    if n < fewest_samples(fraction, confidence):
        return None
    lower, upper = bound_ranks(n, fraction, 2 * confidence - 1)
    middle = nearest_rank(n, fraction)
    ordered = np.sort(samples_ns)
    found = [float(ordered[min(max(rank, 1), n) - 1]) for rank in (middle, lower, upper)]
    return Estimate(*found)
