"""How a variant is measured, as rules: when it is warm, how often, in which order, and what the samples allow to say.

Pure: samples in, verdicts out; no clock and no randomness. Leaves out: the loops (`replicate.py`, `queue.py`) and the
comparison of variants (the controller's).
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from wire.trial import Grade

WARM_AGREEMENT_RATIO = 0.02
"""Three window medians this close together count as settled."""

WARM_TREND_RATIO = 0.01
"""Medians that rise or fall strictly by more than this in all are still moving, however close they are."""

PROBE_WARN_RATIO = 0.03
PROBE_VOID_RATIO = 0.10
"""A fixed loop that got slower by this much between the start and the end: the clock or the neighbours changed."""

DRIFT_VOID_RATIO = 0.03
"""Last third of the timed loop over its first third: a burst that cannot be kept up."""

DISTURBED_SAMPLE_RATIO = 0.05
"""Wall time over CPU time: above this (and above the clock's grain) somebody else ran during the sample."""

DISTURBED_GRAIN_NS = 50_000
CONTAMINATED_RATIO = 0.05
"""More disturbed samples than this: the replicate is measured once more, where the grade allows it."""

SHORTEST_SAMPLE_NS = 1_000_000
"""Below it a sample is the mean of several calls: the clock's and the loop's own cost would show."""


FEWEST_QUERIES = 8
"""Inputs in rotation: one alone would stay in the cache, and might take a favoured branch."""

THROTTLED_NOW_BITS = 0b1111
"""Under-voltage, capped, throttled, soft limit: live bits of the Raspberry Pi firmware; 16 to 19 are sticky."""

REMEDIES: dict[str, tuple[str, bool]] = {
    "unstable": (
        "latency had not settled when the warm-up's time was over: free the device, or use a higher grade",
        False,
    ),
    "probe_slower": ("the processor got up to 10 % slower while it measured: look at heat and neighbours", False),
    "probe_invalid": ("the processor got more than 10 % slower while it measured: cool or free the device", True),
    "drift": (
        "latency rose by more than 3 % during the timed loop: a burst that cannot be kept up; cool the device",
        True,
    ),
    "drift_short": (
        "latency rose by more than 3 % in a short loop: measure at grade normal before relying on it",
        False,
    ),
    "disturbed": ("other processes ran during more than 5 % of the samples: free the device and measure again", False),
    "throttled": ("the firmware throttles the processor: check power supply and cooling", True),
    "mean_of_k": ("calls shorter than 1 ms are timed several at a time: read medians, not tails", False),
    "few_inputs": ("fewer than eight inputs were in rotation: give the bundle more golden inputs", False),
    "busy_host": ("others kept the processor busy when measuring began: measure when the device is idle", False),
    "replaced": (
        "a doubtful process was measured once more: it stays in the record and counts in no number",
        False,
    ),
    "interval_not_reached": (
        "the interval stayed wider than the grade asks for: free the device and measure again",
        False,
    ),
}
"""Reason of a flag -> (what to do about it, whether it voids the speed)."""

UNQUIET = frozenset({"disturbed", "unstable", "probe_slower", "drift_short"}) | {
    reason for reason, (_, void) in REMEDIES.items() if void
}
"""Flags of a process that had the machine not for itself, or not at its usual speed."""


@dataclass(frozen=True)
class GradeRule:
    """How much is measured. Times [s]; runs and seconds are both reached, unless a cap says otherwise.

    After the first `replicates` processes the interval is looked at, and then after `looks` and nowhere else: looking
    often widens it. More are taken where it is wider than `interval_ratio`, or fewer than `fewest_quiet` processes are
    free of `UNQUIET` flags; a process beyond the first is not begun where it might take more than `budget_s` in all.
    """

    replicates: int
    looks: tuple[int, ...]
    fewest_quiet: int
    warm_up_runs: int
    warm_up_s: float
    window_runs: int
    window_s: float
    warm_up_cap_s: float
    timed_runs: int
    timed_s: float
    timed_cap_s: float
    budget_s: float
    preflight_wait_s: float
    interval_ratio: float
    process_cap_s: float
    drift_voids: bool
    repeats_disturbed: bool

    @property
    def most_replicates(self) -> int:
        return max((self.replicates, *self.looks))

    @property
    def longest_process_s(self) -> float:
        """Warm-up and timed runs of one process, where every cap is reached."""
        return self.warm_up_s + self.warm_up_cap_s + self.timed_cap_s


NORMAL = GradeRule(
    replicates=5,
    looks=(7, 10),
    fewest_quiet=0,
    warm_up_runs=3,
    warm_up_s=1.0,
    window_runs=10,
    window_s=0.25,
    warm_up_cap_s=30.0,
    timed_runs=100,
    timed_s=10.0,
    timed_cap_s=60.0,
    budget_s=math.inf,
    preflight_wait_s=60.0,
    interval_ratio=0.02,
    process_cap_s=300.0,
    drift_voids=True,
    repeats_disturbed=True,
)

GRADES: dict[Grade, GradeRule] = {
    # At most 6 s a variant in all, for a demonstration or a first look: three processes of about half a second each, up
    # to five where the host is busy. Too short to tell a burst from noise, so a drift is flagged and does not void.
    "quick": GradeRule(
        replicates=3,
        looks=(4, 5),
        fewest_quiet=3,
        warm_up_runs=3,
        warm_up_s=0.1,
        window_runs=5,
        window_s=0.05,
        warm_up_cap_s=0.5,
        timed_runs=30,
        timed_s=0.4,
        timed_cap_s=0.9,
        budget_s=6.0,
        preflight_wait_s=1.0,
        interval_ratio=0.10,
        process_cap_s=60.0,
        drift_voids=False,
        repeats_disturbed=False,
    ),
    # Five processes of 100 runs and 10 s, then more until the interval is within 2 %, ten at most.
    "normal": NORMAL,
    # For a ranking that others may cite: 1024 runs and 60 s, as MLPerf's single stream asks for.
    "ranking": replace(
        NORMAL, timed_runs=1024, timed_s=60.0, timed_cap_s=600.0, preflight_wait_s=300.0, process_cap_s=1200.0
    ),
}


def is_warm(medians: Sequence[float]) -> bool:
    """Return whether the last three window medians agree and do not move one way.

    Args:
        medians: Median of each window so far, oldest first; any unit.
    """
    if len(medians) < 3:
        return False
    first, second, third = medians[-3:]
    spread = max(first, second, third) / min(first, second, third) - 1
    moving = (first < second < third or first > second > third) and spread > WARM_TREND_RATIO
    return spread <= WARM_AGREEMENT_RATIO and not moving


def abba_order(variants: Sequence[str], rounds: int) -> list[tuple[str, int]]:
    """Return (variant, round) in the order of measuring: every second round runs backwards.

    A machine that drifts evenly then favours nobody: over two rounds all variants have the same mean place.
    """
    order: list[tuple[str, int]] = []
    for number in range(rounds):
        row = list(variants) if number % 2 == 0 else list(reversed(variants))
        order += [(variant, number) for variant in row]
    return order


def calls_per_sample(estimate_ns: float) -> int:
    """Return how many calls make one sample, so that a sample lasts a millisecond or more."""
    return max(1, math.ceil(SHORTEST_SAMPLE_NS / max(estimate_ns, 1.0)))


def fewest_samples(fraction: float, confidence: float = 0.95) -> int:
    """Return how many samples a percentile needs: 59 for p95, 299 for p99.

    With fewer, the largest sample lies below the percentile with a probability above 1 - confidence.
    """
    return math.ceil(math.log(1 - confidence) / math.log(fraction))


def percentile(samples: Sequence[int], fraction: float) -> int:
    """Return the sample below or at which `fraction` of all lie: nearest rank, a value that was measured.

    Raises:
        ValueError: No samples, or `fraction` outside (0, 1].
    Source: Hyndman & Fan 1996, type 1.
    """
    if not samples or not 0 < fraction <= 1:
        raise ValueError(f"percentile {fraction} of {len(samples)} samples")
    return sorted(samples)[math.ceil(fraction * len(samples)) - 1]


def percentile_bounds(samples: Sequence[int], fraction: float, confidence: float = 0.95) -> tuple[int, int] | None:
    """Return order statistics between which the percentile lies with at least `confidence`; None for too few samples.

    The number of samples below the percentile is binomial, whatever the distribution: equal tails, exact.
    """
    n, tail = len(samples), (1 - confidence) / 2
    cumulative = _binomial_cumulative(n, fraction)
    lower = sum(1 for chance in cumulative if chance <= tail)
    upper = next((rank for rank, chance in enumerate(cumulative) if chance >= 1 - tail), n) + 1
    if lower < 1 or upper > n:
        return None
    ordered = sorted(samples)
    return ordered[lower - 1], ordered[upper - 1]


def _binomial_cumulative(n: int, fraction: float) -> list[float]:
    """P(X <= k) for k = 0 … n - 1."""
    log_p, log_q = math.log(fraction), math.log1p(-fraction)
    total, out = 0.0, []
    for k in range(n):
        log_choose = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
        total += math.exp(log_choose + k * log_p + (n - k) * log_q)
        out.append(total)
    return out


def log_interval(process_medians: Sequence[float], confidence: float = 0.95) -> tuple[float, float, float]:
    """Return (geometric mean, lower, upper) from the medians of the processes, by Student's t on their logarithms.

    The process is the unit of replication: samples within one are not independent.

    Raises:
        ValueError: Fewer than two processes, or a median that is not positive.
    """
    if len(process_medians) < 2 or min(process_medians) <= 0:
        raise ValueError(f"an interval needs two positive medians or more, got {list(process_medians)}")
    logs = [math.log(value) for value in process_medians]
    middle = statistics.fmean(logs)
    half = student_quantile((1 + confidence) / 2, len(logs) - 1) * statistics.stdev(logs) / math.sqrt(len(logs))
    return math.exp(middle), math.exp(middle - half), math.exp(middle + half)


def interval_reached(process_medians: Sequence[float], rule: GradeRule) -> bool:
    """Return whether the interval is as narrow as the grade asks for."""
    middle, lower, upper = log_interval(process_medians)
    return max(upper / middle, middle / lower) - 1 <= rule.interval_ratio


def student_quantile(probability: float, degrees: int) -> float:
    """Return Student's t quantile for `probability` >= 0.5, by bisection of the exact distribution."""
    low, high = 0.0, 1e4
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if _student_cumulative(middle, degrees) < probability else (low, middle)
    return (low + high) / 2


def _student_cumulative(t: float, degrees: int) -> float:
    """P(T <= t) for t >= 0. Source: Abramowitz & Stegun 26.7.3 and 26.7.4 (finite sums for whole degrees)."""
    angle = math.atan(t / math.sqrt(degrees))
    cosine, sine = math.cos(angle), math.sin(angle)
    even = degrees % 2 == 0
    term = 1.0 if even else cosine
    total = term if degrees > 1 else 0.0
    for k in range(2 if even else 3, degrees - 1, 2):
        term *= (k - 1) / k * cosine**2
        total += term
    inside = sine * total if even else (2 / math.pi) * (angle + sine * total)
    return 0.5 + inside / 2


def slower_ratio(before: float, after: float) -> float:
    """Return by how much `after` is slower than `before`: 0.1 is 10 %; below 0 it was faster."""
    return after / before - 1


def drift_ratio(samples: Sequence[int]) -> float:
    """Return the median of the last third over that of the first, less 1; 0 for fewer than nine samples."""
    third = len(samples) // 3
    if third < 3:
        return 0.0
    return slower_ratio(statistics.median(samples[:third]), statistics.median(samples[-third:]))


def disturbed_ratio(wall_ns: Sequence[int], cpu_ns: Sequence[int]) -> float:
    """Return the share of samples during which this process waited for a processor."""
    lost = [
        wall - cpu > max(DISTURBED_GRAIN_NS, DISTURBED_SAMPLE_RATIO * wall)
        for wall, cpu in zip(wall_ns, cpu_ns, strict=True)
    ]
    return sum(lost) / len(lost) if lost else 0.0


def replicate_flags(readings: Mapping[str, Any], rule: GradeRule) -> list[str]:
    """Return the reasons to doubt a replicate that follow from its readings (see `replicate.py` for their names)."""
    probe = slower_ratio(readings["probe_before_ns"], readings["probe_after_ns"])
    drifted = readings["drift_ratio"] > DRIFT_VOID_RATIO
    checks = {
        "probe_invalid": probe > PROBE_VOID_RATIO,
        "probe_slower": PROBE_WARN_RATIO < probe <= PROBE_VOID_RATIO,
        "drift": drifted and rule.drift_voids,
        "drift_short": drifted and not rule.drift_voids,
        "disturbed": (readings["disturbed_ratio"] or 0.0) > CONTAMINATED_RATIO,
        "throttled": bool((readings["after"]["throttled_bits"] or 0) & THROTTLED_NOW_BITS),
        "mean_of_k": readings["calls_per_sample"] > 1,
        "few_inputs": readings["queries_in_rotation"] < FEWEST_QUERIES,
    }
    return [reason for reason, holds in checks.items() if holds]
