"""Arrivals: their rate and their distribution, the same everywhere; a pace that never slips."""

import itertools
import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from agent.measure.scenarios import schedule


def gaps(rate_hz: float, seed: int, count: int) -> list[float]:
    due = list(itertools.islice(schedule.poisson(rate_hz, seed), count))
    return [(later - earlier) / 1e9 for earlier, later in itertools.pairwise(due)]


@pytest.mark.parametrize("seed", [0, 1, 2, 2**40])
def test_gaps_are_exponential_and_independent(seed: int) -> None:
    found = gaps(200.0, seed, 4001)
    assert stats.kstest(found, "expon", args=(0, 1 / 200.0)).pvalue > 0.01
    assert statistics.fmean(found) == pytest.approx(1 / 200.0, rel=4 / math.sqrt(4000))
    assert abs(statistics.correlation(found[:-1], found[1:])) < 4 / math.sqrt(4000)


def test_counts_in_equal_times_are_poissons() -> None:
    due = list(itertools.islice(schedule.poisson(10.0, 7), 20_000))
    seconds = int(due[-1] / 1e9)
    counts = [0] * seconds
    for moment in due:
        if moment < seconds * 1e9:
            counts[int(moment / 1e9)] += 1
    assert statistics.variance(counts) / statistics.fmean(counts) == pytest.approx(1.0, abs=4 * math.sqrt(2 / seconds))


def test_the_same_seed_gives_the_same_arrivals_on_every_device() -> None:
    # Written down: whoever changes the generator changes what older records mean.
    assert list(itertools.islice(schedule.poisson(100.0, 1), 4)) == [5913287, 9449157, 9746617, 11060394]
    assert gaps(100.0, 2, 5) != gaps(100.0, 1, 5)


@given(st.integers(0, 2**63), st.integers(1, 200))
def test_uniform_numbers_have_a_logarithm(seed: int, count: int) -> None:
    assert all(0 < number <= 1 for number in itertools.islice(schedule.uniform(seed), count))


@given(st.floats(0.001, 60_000), st.integers(0, 10_000))
def test_a_pace_is_counted_from_its_beginning(period_ms: float, number: int) -> None:
    """No rounding adds up: the n-th query is due n periods after the first."""
    due = next(itertools.islice(schedule.paced(period_ms), number, None))
    assert abs(due - number * period_ms * 1e6) <= 1 + 1e-9 * due
