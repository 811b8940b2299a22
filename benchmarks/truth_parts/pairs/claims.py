"""What measured pairs say: how often equal bundles were called different, and how often 5 % more was found."""

import statistics
from collections import Counter
from collections.abc import Callable, Sequence

from benchmarks.common import Claim, at_least, at_most, not_measured
from benchmarks.truth_parts.pairs.state import Pair, State
from wire.statistics import binomial_cumulative, log_interval

WANTED_SAME, WANTED_SLOWER = 200, 100
MOST_CALLED = 0.05
LEAST_FOUND = 0.90
CONFIDENCE = 0.95


def pair_claims(state: State) -> list[Claim]:
    """Return both claims; a rate is claimed of the full number of pairs, and of nothing less."""
    return [same_claim(state.of("same")), slower_claim(state.of("slower"))]


def same_claim(pairs: Sequence[Pair]) -> Claim:
    """Return the claim on pairs of equal bundles."""
    name, goal = "equal bundles called different", f"<= {MOST_CALLED:g}"
    called = sum(pair.comparison.verdict in ("faster", "slower") for pair in pairs)
    if len(pairs) < WANTED_SAME:
        return not_measured(
            name, "of 1", goal, _too_few(called, len(pairs), WANTED_SAME, "were called different", pairs)
        )
    return at_most(name, called / len(pairs), MOST_CALLED, "of 1", _text(called, pairs))


def slower_claim(pairs: Sequence[Pair]) -> Claim:
    """Return the claim on pairs whose second bundle does 5 % more."""
    name, goal = "5 % more work found", f">= {LEAST_FOUND:g}"
    found = sum(pair.comparison.verdict == "slower" for pair in pairs)
    if len(pairs) < WANTED_SLOWER:
        return not_measured(name, "of 1", goal, _too_few(found, len(pairs), WANTED_SLOWER, "were found", pairs))
    return at_least(name, found / len(pairs), LEAST_FOUND, "of 1", _text(found, pairs))


def rate_bounds(hits: int, n: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Return bounds of a rate that was seen `hits` times in `n`.

    Source: Clopper & Pearson, Biometrika 26 (1934) 404-413: exact, equal tails; by bisection.
    """
    tail = (1 - confidence) / 2
    lower = 0.0 if hits == 0 else _bisected(lambda rate: 1 - binomial_cumulative(hits - 1, n, rate) < tail)
    upper = 1.0 if hits == n else _bisected(lambda rate: binomial_cumulative(hits, n, rate) > tail)
    return lower, upper


def _bisected(holds: Callable[[float], bool]) -> float:
    """Return where a condition that holds for small rates ceases to."""
    low, high = 0.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return (low + high) / 2


def _too_few(hits: int, n: int, wanted: int, what: str, pairs: Sequence[Pair]) -> str:
    return f"{n} pairs claim no rate ({wanted} do): {hits} {what}" + (f"; {_medians(pairs)}" if n else "")


def _text(hits: int, pairs: Sequence[Pair]) -> str:
    lower, upper = rate_bounds(hits, len(pairs))
    verdicts = Counter(pair.comparison.verdict for pair in pairs)
    listed = ", ".join(f"{verdict} {count}" for verdict, count in sorted(verdicts.items()))
    hours = sum(pair.seconds for pair in pairs) / 3600
    return (
        f"{hits} of {len(pairs)} pairs, 95 % bounds {lower:.3f} to {upper:.3f}; {listed}; {_medians(pairs)}; "
        f"{pairs[0].at} to {pairs[-1].at}, {hours:.1f} h of measuring"
    )


def _medians(pairs: Sequence[Pair]) -> str:
    """Return the ratio over all pairs, and how much rounds and processes of one bundle differ."""
    ratios = [pair.comparison.ratio for pair in pairs]
    rounds = statistics.median(statistics.stdev(pair.log_ratios) for pair in pairs)
    spread = statistics.median(
        statistics.stdev(side) / statistics.fmean(side) for pair in pairs for side in (pair.first_ns, pair.second_ns)
    )
    if len(ratios) < 2:
        return f"ratio {ratios[0]:.4f}"
    middle, lower, upper = log_interval(ratios)
    counts = [len(pair.log_ratios) for pair in pairs]
    return (
        f"ratio of all {middle:.4f} ({lower:.4f} to {upper:.4f}), its median {statistics.median(ratios):.4f}; ratios "
        f"of one pair's rounds spread by {100 * rounds:.2f} %, process medians of one side by {100 * spread:.2f} %; "
        f"{min(counts)} to {max(counts)} rounds in lock-step; load at the end of a pair "
        f"{statistics.median(pair.load_1m for pair in pairs):.1f}"
    )
