"""How a variant is measured, as rules: when it is warm, how often, in which order, and what the samples allow to say.

Pure: samples in, verdicts out; no clock and no randomness. Leaves out: the loops (`replicate.py`, `queue.py`), and
intervals, percentiles and comparisons (`wire.statistics`), and reasons to doubt (`flags.py`).
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace

from wire.statistics import log_interval
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


MOST_SAMPLES = 100_000
"""Of one process and one kind: what is sent to the controller is bounded. Timing ends there, whatever the grade."""

FEWEST_QUERIES = 8
"""Inputs in rotation: one alone would stay in the cache, and might take a favoured branch."""

THROTTLED_NOW_BITS = 0b1111
"""Under-voltage, capped, throttled, soft limit: live bits of the Raspberry Pi firmware; 16 to 19 are sticky."""


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
    loads: int
    """Processes that only load, with pages dropped and without: so many of each."""
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
    loads=3,
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
        loads=0,
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


def interval_reached(process_medians: Sequence[float], rule: GradeRule) -> bool:
    """Return whether the interval is as narrow as the grade asks for."""
    middle, lower, upper = log_interval(process_medians)
    return max(upper / middle, middle / lower) - 1 <= rule.interval_ratio


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
