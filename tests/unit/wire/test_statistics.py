"""The statistics against closed forms and scipy; how often they are wrong stands in `test_statistics_simulated.py`."""

import math
import statistics as stdlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from wire import statistics
from wire.statistics import compare

latencies = st.lists(st.integers(1, 10**9), min_size=1, max_size=200)
medians = st.lists(st.floats(0.01, 1e6), min_size=2, max_size=12)

DEGREES = [0.4, 1, 1.7, 2, 3, 4, 5.25, 9, 30, 412.3, 10_000]


@pytest.mark.parametrize("degrees", DEGREES)
@pytest.mark.parametrize("probability", [1e-6, 0.025, 0.4, 0.5, 0.75, 0.95, 0.975, 0.9875, 1 - 1e-9])
def test_students_quantile_is_scipys(degrees: float, probability: float) -> None:
    expected = float(stats.t.ppf(probability, degrees))
    assert statistics.student_quantile(probability, degrees) == pytest.approx(expected, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("degrees", DEGREES)
@pytest.mark.parametrize("t", [-60.0, -2.5, -0.01, 0.0, 0.5, 3.0, 40.0])
def test_students_cumulative_is_scipys(degrees: float, t: float) -> None:
    assert statistics.student_cumulative(t, degrees) == pytest.approx(float(stats.t.cdf(t, degrees)), rel=1e-10)


def test_student_with_one_degree_is_cauchys_and_with_infinitely_many_the_normal() -> None:
    assert statistics.student_quantile(0.75, 1) == pytest.approx(1.0)
    assert statistics.student_cumulative(1.0, 1) == pytest.approx(0.75)
    assert statistics.student_quantile(0.975, math.inf) == pytest.approx(1.959964, abs=1e-6)
    assert statistics.student_cumulative(-1.959964, math.inf) == pytest.approx(0.025, abs=1e-6)


@pytest.mark.parametrize(("probability", "degrees"), [(0.0, 3), (1.0, 3), (0.5, 0), (0.5, -1)])
def test_students_quantile_refuses(probability: float, degrees: float) -> None:
    with pytest.raises(ValueError, match="not defined"):
        statistics.student_quantile(probability, degrees)


@pytest.mark.parametrize("n", [1, 59, 1000, 100_000])
@pytest.mark.parametrize("probability", [0.05, 0.5, 0.95, 0.99])
def test_binomial_is_scipys(n: int, probability: float) -> None:
    for k in {-1, 0, n // 2, int(n * probability), n - 1, n}:
        expected = float(stats.binom.cdf(k, n, probability))
        assert statistics.binomial_cumulative(k, n, probability) == pytest.approx(expected, rel=1e-8, abs=1e-250)


@pytest.mark.parametrize(("fraction", "samples"), [(0.5, 5), (0.95, 59), (0.99, 299)])
def test_percentiles_need_so_many_samples(fraction: float, samples: int) -> None:
    assert statistics.fewest_samples(fraction) == samples
    assert fraction**samples <= 0.05 < fraction ** (samples - 1)


@given(latencies, st.floats(0.01, 1.0))
def test_percentile_is_the_inverse_of_the_empirical_distribution(samples: list[int], fraction: float) -> None:
    found = statistics.percentile(samples, fraction)
    assert found in samples
    assert sum(value <= found for value in samples) >= fraction * len(samples) - 1e-6
    assert sum(value < found for value in samples) < fraction * len(samples) + 1e-6


def test_rank_is_not_one_too_high_by_rounding() -> None:
    assert 0.07 * 100 > 7  # as floats
    assert statistics.nearest_rank(100, 0.07) == 7
    assert statistics.nearest_rank(100, 0.071) == 8


@pytest.mark.parametrize(("samples", "fraction"), [([], 0.5), ([1], 0.0), ([1], 1.1)])
def test_percentile_refuses(samples: list[int], fraction: float) -> None:
    with pytest.raises(ValueError, match="percentile"):
        statistics.percentile(samples, fraction)


@pytest.mark.parametrize("fraction", [0.5, 0.9, 0.95])
@pytest.mark.parametrize("n", [100, 237, 500, 20_000])
def test_bounds_are_order_statistics_of_the_binomial(n: int, fraction: float) -> None:
    bounds = statistics.percentile_bounds(range(1, n + 1), fraction)
    assert bounds is not None
    lower, upper = bounds  # samples equal their ranks
    chance = stats.binom.cdf(upper - 1, n, fraction) - stats.binom.cdf(lower - 1, n, fraction)
    assert chance >= 0.95
    assert stats.binom.cdf(lower, n, fraction) > 0.025  # one rank tighter would miss
    assert stats.binom.cdf(upper - 2, n, fraction) < 0.975


def test_too_few_samples_have_no_bounds() -> None:
    assert statistics.percentile_bounds([], 0.95) is None
    assert statistics.percentile_bounds(list(range(59)), 0.95) is None
    assert statistics.percentile_bounds(list(range(80)), 0.95) is not None


def test_what_is_sustained_is_the_last_third_of_each_process() -> None:
    assert statistics.sustained([[1] * 6 + [2, 4, 8]]) == pytest.approx(4)
    assert statistics.sustained([[1, 2], [1] * 4 + [8, 8]]) == pytest.approx(4)  # the mean of 2 and 8
    nothing: list[list[list[int]]] = [[], [[]], [[1], []]]
    for none in nothing:
        with pytest.raises(ValueError, match="processes with samples"):
            statistics.sustained(none)


def test_interval_is_students_t_on_the_logarithms() -> None:
    values = [1.00, 1.02, 0.99, 1.01, 1.03]
    logs = [math.log(value) for value in values]
    lower, upper = stats.t.interval(0.95, 4, stdlib.fmean(logs), stdlib.stdev(logs) / math.sqrt(5))
    assert statistics.log_interval(values) == pytest.approx(
        (stdlib.geometric_mean(values), math.exp(lower), math.exp(upper)), rel=1e-9
    )


@pytest.mark.parametrize("values", [[], [1.0], [1.0, 0.0]])
def test_interval_needs_two_positive_medians(values: list[float]) -> None:
    with pytest.raises(ValueError, match="two positive medians"):
        statistics.log_interval(values)


@settings(deadline=None, max_examples=60)
@given(medians, medians)
def test_welch_is_scipys(a: list[float], b: list[float]) -> None:
    if np.ptp(np.log(a)) < 1e-6 or np.ptp(np.log(b)) < 1e-6:
        return  # scipy warns of cancellation where a side hardly varies
    found = stats.ttest_ind(np.log(b), np.log(a), equal_var=False).confidence_interval(0.975)
    ratio, lower, upper = statistics.welch_ratio(a, b, 0.975)
    assert ratio == pytest.approx(stdlib.geometric_mean(b) / stdlib.geometric_mean(a), rel=1e-9)
    expected = [math.exp(bound) if bound < 709 else math.inf for bound in (found.low, found.high)]
    assert [lower, upper] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("a", "b", "verdict"),
    [
        ([10.0, 10.1, 9.9, 10.0, 10.1], [9.0, 9.1, 9.0, 8.9, 9.1], "faster"),
        ([9.0, 9.1, 9.0, 8.9, 9.1], [10.0, 10.1, 9.9, 10.0, 10.1], "slower"),
        ([10.0, 10.1, 9.9, 10.0, 10.1], [10.0, 9.9, 10.0, 10.1, 10.0], "no_difference_seen"),
        ([10.0, 10.1], [1.0, 1.1, 1.0], "not_enough_data"),  # two processes
        ([10.0, 15.0, 9.0], [11.0, 9.0, 16.0], "not_enough_data"),  # even 25 % could not have been seen
        ([7.0, 7.0, 7.0], [7.0, 7.0, 7.0], "no_difference_seen"),
        ([7.0, 7.0, 7.0], [8.0, 8.0, 8.0], "slower"),
        ([7.0], [8.0], "not_enough_data"),
    ],
)
def test_verdicts(a: list[float], b: list[float], verdict: str) -> None:
    found = compare(a, b)
    assert found.verdict == verdict
    assert found.lower <= found.ratio <= found.upper
    assert found.processes == (len(a), len(b))


def test_a_wide_difference_is_called_even_where_small_ones_could_not_be() -> None:
    found = compare([10.0, 15.0, 9.0, 12.0], [100.0, 140.0, 90.0, 120.0])
    assert found.verdict == "slower"
    assert found.detectable_ratio > statistics.WIDEST_DETECTABLE_RATIO


@settings(deadline=None, max_examples=60)
@given(medians, medians)
def test_exchanging_the_sides_turns_the_verdict_round(a: list[float], b: list[float]) -> None:
    there, back = compare(a, b), compare(b, a)
    assert back.ratio == pytest.approx(1 / there.ratio)
    turned = {"faster": "slower", "slower": "faster"}
    assert back.verdict == turned.get(there.verdict, there.verdict)
    assert back.detectable_ratio == pytest.approx(there.detectable_ratio)


@settings(deadline=None, max_examples=40)
@given(medians, medians, st.floats(0.001, 1000))
def test_the_unit_does_not_matter(a: list[float], b: list[float], unit: float) -> None:
    scaled = compare([unit * value for value in a], [unit * value for value in b])
    assert scaled.ratio == pytest.approx(compare(a, b).ratio, rel=1e-9)


@pytest.mark.parametrize(("a", "b"), [([], [1.0]), ([1.0], []), ([1.0, 0.0], [1.0]), ([1.0], [-1.0])])
def test_a_comparison_needs_positive_medians(a: list[float], b: list[float]) -> None:
    with pytest.raises(ValueError, match="positive medians of both sides"):
        compare(a, b)


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=12), st.floats(0.001, 0.5))
def test_rounds_are_compared_by_students_t_of_one_sample(log_ratios: list[float], level: float) -> None:
    found = statistics.compare_rounds(log_ratios, level)
    spread = stdlib.stdev(log_ratios)
    assert found.ratio == pytest.approx(math.exp(stdlib.fmean(log_ratios)))
    assert found.processes == (len(log_ratios), len(log_ratios))
    if spread < 1e-9:
        return
    error = spread / math.sqrt(len(log_ratios))
    lower, upper = stats.t.interval(1 - level, len(log_ratios) - 1, stdlib.fmean(log_ratios), error)
    if upper < 700:
        assert (math.log(found.lower), math.log(found.upper)) == pytest.approx((lower, upper), rel=1e-6, abs=1e-9)


@pytest.mark.parametrize(
    ("log_ratios", "verdict"),
    [
        ([0.05, 0.04, 0.06, 0.05, 0.05], "slower"),
        ([-0.05, -0.04, -0.06, -0.05, -0.05], "faster"),
        ([0.01, -0.01, 0.02, -0.02, 0.0], "no_difference_seen"),
        ([0.5, -0.5, 0.5], "not_enough_data"),
        ([0.05, 0.05], "not_enough_data"),
        ([0.05], "not_enough_data"),
        ([0.0, 0.0, 0.0], "no_difference_seen"),
    ],
)
def test_rounds_give_the_four_verdicts(log_ratios: list[float], verdict: str) -> None:
    assert statistics.compare_rounds(log_ratios).verdict == verdict


def test_rounds_that_are_none_are_refused() -> None:
    for wrong in ([], [0.1, math.nan], [math.inf]):
        with pytest.raises(ValueError, match="finite log ratios"):
            statistics.compare_rounds(wrong)
    for a, b in (([], []), ([1.0], [1.0, 2.0]), ([0.0], [1.0])):
        with pytest.raises(ValueError, match="positive blocks in pairs"):
            statistics.round_log_ratio(a, b)


def test_a_jump_between_two_blocks_of_a_pair_moves_no_round() -> None:
    """The clock doubles within one pair: a factor of two there, and nothing in the others."""
    assert statistics.round_log_ratio([1.0, 1.0, 1.0, 2.0, 2.0], [1.1, 1.1, 2.2, 2.2, 2.2]) == pytest.approx(
        math.log(1.1)
    )
