"""Statistics of both sides, as closed forms: intervals, percentiles with bounds, and the comparison of two variants.

Decides: what the medians of fresh processes and the samples within them allow to say. Leaves out: which samples count
(`agent.measure.record`, `controller.trial.summary`) and variances over devices. Pure, standard library alone: the
agent's control process uses it as well.

The process is the unit of replication. Queries of one process share its memory layout, its heat and its neighbours;
taken as independent they would call most pairs of equal variants different.

    compare([10.1, 10.0, 10.2, 10.1, 10.0], [9.1, 9.0, 9.2, 9.1, 9.1]).verdict  # "faster"
"""

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

NumberT = TypeVar("NumberT", int, float)

Verdict = Literal["faster", "slower", "no_difference_seen", "not_enough_data"]

DESIGN_LEVEL = 0.025
"""Share of pairs of equal variants that `compare` may call different, both directions together. Half of the 5 % that
the benchmark allows: log medians of a handful of processes are not quite normal."""

DETECTION_POWER = 0.9
"""A true difference of `detectable_ratio` is called in this share of comparisons."""

FEWEST_PROCESSES = 3
"""Per side. With two, one odd process decides, and the interval spans orders of magnitude."""

WIDEST_DETECTABLE_RATIO = 1.25
"""Where only larger differences would have been seen, that none was seen says nothing."""


@dataclass(frozen=True)
class Comparison:
    """What two variants' process medians, or the rounds that they took in lock-step, say of b against a.

    `ratio` is b's time over a's, geometric means: 0.95 is 5 % less time, `faster`. `lower` and `upper` bound it with a
    confidence of 1 - `level`, 0 and infinity where a side has fewer than two processes. `detectable_ratio` is the
    smallest true slow-down that nine of ten such comparisons would have called; infinity where nothing says.
    `processes`: of a and of b; in lock-step each round has one of either.
    """

    verdict: Verdict
    ratio: float
    lower: float
    upper: float
    detectable_ratio: float
    level: float
    processes: tuple[int, int]


def compare(a_medians: Sequence[float], b_medians: Sequence[float], level: float = DESIGN_LEVEL) -> Comparison:
    """Compare b with a: is it faster, slower, or was no difference seen?

    Args:
        a_medians: Median latency of each fresh process of the reference, > 0, any unit; measured interleaved with b's.
        b_medians: The same of the variant that is asked about, same unit.
        level: Share of pairs of equal variants that may be called different, in (0, 1).
    Returns:
        `not_enough_data` below three processes a side, and where no difference was seen but one of 25 % might have
        been missed.
    Raises:
        ValueError: A side is empty, or a median is not positive.
    Source: Welch, Biometrika 34 (1947) 28-35, on logarithms: latencies multiply.
    """
    found = welch_ratio(a_medians, b_medians, 1 - level)
    detectable = _detectable_ratio(a_medians, b_medians, level)
    return _judged(found, detectable, level, (len(a_medians), len(b_medians)))


def compare_rounds(log_ratios: Sequence[float], level: float = DESIGN_LEVEL) -> Comparison:
    """Compare b with a, where both were measured in lock-step: a round is a fresh process of either, taking turns.

    What both have in common, however much it wanders, is in no ratio; what a process brings of its own is, so that the
    round is the unit.

    Args:
        log_ratios: `round_log_ratio` of each round.
        level: Share of pairs of equal variants that may be called different, in (0, 1).
    Returns:
        As `compare`, from Student's t of one sample; `not_enough_data` below three rounds.
    Raises:
        ValueError: No rounds, or a ratio that is not finite.
    Source: Bulej et al., Duet benchmarking, ICPE 2020 (pairs that run together; here they take turns).
    """
    if not log_ratios or not all(map(math.isfinite, log_ratios)):
        raise ValueError(f"rounds are compared by finite log ratios, got {list(log_ratios)}")
    n, middle = len(log_ratios), statistics.fmean(log_ratios)
    if n < 2:
        return _judged((math.exp(middle), 0.0, math.inf), math.inf, level, (n, n))
    error = statistics.stdev(log_ratios) / math.sqrt(n)
    needed = student_quantile(1 - level / 2, n - 1)
    bounds = (math.exp(middle), _exp(middle - needed * error), _exp(middle + needed * error))
    return _judged(bounds, _exp((needed + student_quantile(DETECTION_POWER, n - 1)) * error), level, (n, n))


def round_log_ratio(a_blocks: Sequence[float], b_blocks: Sequence[float]) -> float:
    """Return log(b / a) of one round: the median over pairs of neighbouring blocks.

    A median, since what strikes between the two blocks of a pair, like a clock that changes, may be a factor of two in
    that pair and is nothing in the others.

    Args:
        a_blocks: The median latency of each block, > 0, in the order measured.
        b_blocks: The same of the other side; block i of either were measured one right after the other.
    Raises:
        ValueError: No blocks, not as many of either, or one that is not positive.
    """
    if not a_blocks or len(a_blocks) != len(b_blocks) or min(*a_blocks, *b_blocks) <= 0:
        raise ValueError(f"a round needs positive blocks in pairs, got {len(a_blocks)} and {len(b_blocks)}")
    return statistics.median(math.log(b / a) for a, b in zip(a_blocks, b_blocks, strict=True))


def _judged(
    bounds: tuple[float, float, float], detectable_ratio: float, level: float, processes: tuple[int, int]
) -> Comparison:
    ratio, lower, upper = bounds
    verdict: Verdict = "no_difference_seen" if detectable_ratio <= WIDEST_DETECTABLE_RATIO else "not_enough_data"
    if min(processes) < FEWEST_PROCESSES:
        verdict = "not_enough_data"
    elif upper < 1:
        verdict = "faster"
    elif lower > 1:
        verdict = "slower"
    return Comparison(verdict, ratio, lower, upper, detectable_ratio, level, processes)


def welch_ratio(
    a_medians: Sequence[float], b_medians: Sequence[float], confidence: float = 0.95
) -> tuple[float, float, float]:
    """Return (ratio, lower, upper) of b's time over a's: geometric means, Welch's t on the logarithms.

    Returns:
        Bounds 0 and infinity where a side has fewer than two processes.
    Raises:
        ValueError: A side is empty, or a median is not positive.
    Source: Welch, Biometrika 34 (1947) 28-35.
    """
    if not len(a_medians) or not len(b_medians) or min(*a_medians, *b_medians) <= 0:
        raise ValueError("a comparison needs positive medians of both sides")
    a, b = _logs(a_medians), _logs(b_medians)
    middle = statistics.fmean(b) - statistics.fmean(a)
    if min(len(a), len(b)) < 2:
        return math.exp(middle), 0.0, math.inf
    error, degrees = _welch_error(a, b)
    half = 0.0 if error == 0 else student_quantile((1 + confidence) / 2, degrees) * error
    return math.exp(middle), _exp(middle - half), _exp(middle + half)


def _detectable_ratio(a_medians: Sequence[float], b_medians: Sequence[float], level: float) -> float:
    if min(len(a_medians), len(b_medians)) < 2:
        return math.inf
    error, degrees = _welch_error(_logs(a_medians), _logs(b_medians))
    if error == 0:
        return 1.0
    quantiles = student_quantile(1 - level / 2, degrees) + student_quantile(DETECTION_POWER, degrees)
    return _exp(quantiles * error)


def _welch_error(a: Sequence[float], b: Sequence[float]) -> tuple[float, float]:
    """Return the standard error of the difference of two means, and its degrees of freedom (Welch-Satterthwaite)."""
    parts = [statistics.variance(side) / len(side) for side in (a, b)]
    total = sum(parts)
    if total == 0:
        return 0.0, math.inf
    spread = sum((part / total) ** 2 / (len(side) - 1) for part, side in zip(parts, (a, b), strict=True))
    return math.sqrt(total), 1 / spread


def log_interval(process_medians: Sequence[float], confidence: float = 0.95) -> tuple[float, float, float]:
    """Return (geometric mean, lower, upper) from the medians of the processes, by Student's t on their logarithms.

    Raises:
        ValueError: Fewer than two processes, or a median that is not positive.
    """
    if len(process_medians) < 2 or min(process_medians) <= 0:
        raise ValueError(f"an interval needs two positive medians or more, got {list(process_medians)}")
    logs = _logs(process_medians)
    middle = statistics.fmean(logs)
    half = student_quantile((1 + confidence) / 2, len(logs) - 1) * statistics.stdev(logs) / math.sqrt(len(logs))
    return math.exp(middle), _exp(middle - half), _exp(middle + half)


def sustained(process_samples: Sequence[Sequence[int]]) -> float:
    """Return the latency that is left where it rises: the last third of each process, its median, over all of them.

    Args:
        process_samples: Latency per query of each fresh process in the order measured, > 0, any unit.
    Returns:
        Geometric mean of the medians, same unit.
    Raises:
        ValueError: No processes, or one without samples.
    """
    if not process_samples or not all(process_samples):
        raise ValueError("what is sustained needs processes with samples")
    return statistics.geometric_mean(statistics.median(each[-max(1, len(each) // 3) :]) for each in process_samples)


def fewest_samples(fraction: float, confidence: float = 0.95) -> int:
    """Return how many samples a percentile needs: 59 for p95, 299 for p99.

    With fewer, the largest sample lies below the percentile with a probability above 1 - confidence.
    """
    return math.ceil(math.log(1 - confidence) / math.log(fraction))


def percentile(samples: Sequence[NumberT], fraction: float) -> NumberT:
    """Return the sample below or at which `fraction` of all lie: nearest rank, a value that was measured.

    Raises:
        ValueError: No samples, or `fraction` outside (0, 1].
    Source: Hyndman & Fan 1996, type 1.
    """
    if not samples:
        raise ValueError(f"percentile {fraction} of no samples")
    return sorted(samples)[nearest_rank(len(samples), fraction) - 1]


def nearest_rank(n: int, fraction: float) -> int:
    """Return the rank, from 1, of the percentile of n samples in order.

    Raises:
        ValueError: `fraction` outside (0, 1].
    """
    if not 0 < fraction <= 1:
        raise ValueError(f"percentile {fraction}: a fraction above 0 and up to 1 is expected")
    return max(1, math.ceil(fraction * n - 1e-9))  # 0.07 * 100 is a little above 7


def percentile_bounds(
    samples: Sequence[NumberT], fraction: float, confidence: float = 0.95
) -> tuple[NumberT, NumberT] | None:
    """Return order statistics between which the percentile lies with at least `confidence`; None for too few samples.

    Takes the samples as independent: those of one process are not quite.
    """
    lower, upper = bound_ranks(len(samples), fraction, confidence)
    if lower < 1 or upper > len(samples):
        return None
    ordered = sorted(samples)
    return ordered[lower - 1], ordered[upper - 1]


def bound_ranks(n: int, fraction: float, confidence: float = 0.95) -> tuple[int, int]:
    """Return the ranks, from 1, of the order statistics around a percentile: equal tails, exact for any distribution.

    Args:
        n: Number of samples.
        fraction: In (0, 1).
        confidence: Of both bounds together; each by itself holds with (1 + confidence) / 2.
    Returns:
        (lower, upper); 0 and n + 1 where no sample is low, or high, enough.
    Source: David & Nagaraja, Order Statistics (2003), section 7.1: the number of samples below the percentile is
        binomial.
    """
    tail = (1 - confidence) / 2
    lower = _first(n, lambda k: binomial_cumulative(k, n, fraction) > tail)
    return lower, _first(n, lambda k: binomial_cumulative(k, n, fraction) >= 1 - tail) + 1


def binomial_cumulative(k: int, n: int, probability: float) -> float:
    """Return P(X <= k) of n trials that each succeed with `probability` in (0, 1)."""
    if k < 0:
        return 0.0
    return 1.0 if k >= n else _incomplete_beta(n - k, k + 1, 1 - probability, probability)


def student_cumulative(t: float, degrees: float) -> float:
    """Return P(T <= t) of Student's t with `degrees` > 0, whole or not; infinity is the normal distribution."""
    tail = _student_tail(abs(t), degrees)
    return tail if t < 0 else 1 - tail


def student_quantile(probability: float, degrees: float) -> float:
    """Return Student's t quantile: Newton's method on the tail, which is convex and so approached from one side.

    Args:
        probability: In (0, 1).
        degrees: Above 0, whole or not (Welch's are not); infinity gives the normal quantile.
    Raises:
        ValueError: Out of range.
    """
    if not 0 < probability < 1 or degrees <= 0:
        raise ValueError(f"Student's quantile of {probability} with {degrees} degrees of freedom is not defined")
    if math.isinf(degrees):
        return statistics.NormalDist().inv_cdf(probability)
    wanted, t = min(probability, 1 - probability), 0.0
    for _ in range(500):  # heavy tails double t at each step, then it converges as Newton does
        step = (_student_tail(t, degrees) - wanted) / _student_density(t, degrees)
        t += step
        if abs(step) <= 1e-14 * t:
            break
    return t if probability >= 0.5 else -t


def _student_tail(t: float, degrees: float) -> float:
    """P(T > t) for t >= 0. Source: Abramowitz & Stegun 26.7.1 and 26.5.27."""
    if math.isinf(degrees):
        return math.erfc(t / math.sqrt(2)) / 2
    whole = degrees + t * t
    return _incomplete_beta(degrees / 2, 0.5, degrees / whole, t * t / whole) / 2


def _student_density(t: float, degrees: float) -> float:
    log_scale = math.lgamma((degrees + 1) / 2) - math.lgamma(degrees / 2) - math.log(degrees * math.pi) / 2
    return math.exp(log_scale - (degrees + 1) / 2 * math.log1p(t * t / degrees))


def _incomplete_beta(a: float, b: float, x: float, rest: float) -> float:
    """Regularised incomplete beta I_x(a, b); `rest` is 1 - x, given apart so that neither end loses digits.

    Source: Abramowitz & Stegun 26.5.8 (continued fraction), 26.5.2 (the other side, where that converges slowly).
    """
    if x <= 0 or rest <= 0:
        return 0.0 if x <= 0 else 1.0
    if x > (a + 1) / (a + b + 2):
        return 1 - _incomplete_beta(b, a, rest, x)
    log_front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log(rest)
    return math.exp(log_front) / (a * _beta_fraction(a, b, x))


def _beta_fraction(a: float, b: float, x: float) -> float:
    """The continued fraction's denominator 1 + d1/(1 + d2/(1 + …)), by Lentz's method."""
    value, c, d = 1.0, 1.0, 0.0
    for step in range(1, 100_000):  # about as many as the root of the larger argument
        m = step // 2
        term = m * (b - m) / ((a + step - 1) * (a + step)) if step % 2 == 0 else _odd_term(a, b, m)
        d = 1 / (1 + term * x * d)
        c = 1 + term * x / c
        value *= c * d
        if abs(c * d - 1) <= 1e-15:
            break
    return value


def _odd_term(a: float, b: float, m: int) -> float:
    return -(a + m) * (a + b + m) / ((a + 2 * m) * (a + 2 * m + 1))


def _first(n: int, holds: Callable[[int], bool]) -> int:
    """Return the smallest k in 0 … n for which the monotone condition holds, by bisection; n where none below does."""
    low, high = 0, n
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle + 1, high)
    return low


def _logs(values: Sequence[float]) -> list[float]:
    return [math.log(value) for value in values]


def _exp(exponent: float) -> float:
    """Two processes that differ by orders of magnitude have an interval that no float holds."""
    return math.exp(exponent) if exponent < 709 else math.inf
