"""The measuring rules against closed forms, tables and scipy."""

import math
import statistics
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from agent.measure import protocol
from agent.measure.protocol import GRADES, REMEDIES

latencies = st.lists(st.integers(1, 10**9), min_size=1, max_size=200)


@pytest.mark.parametrize(
    ("medians", "warm"),
    [
        ([], False),
        ([1.0, 1.0], False),
        ([1.0, 1.0, 1.0], True),
        ([1.0, 1.01, 1.0], True),
        ([1.0, 1.03, 1.0], False),  # 3 % apart
        ([1.0, 1.008, 1.016], False),  # 1.6 % and rising
        ([1.016, 1.008, 1.0], False),  # still getting faster
        ([1.0, 1.004, 1.008], True),  # rising by less than 1 %: noise
        ([9.0, 2.0, 1.0, 1.0, 1.01], True),  # only the last three count
    ],
)
def test_warm_when_three_medians_agree_without_a_trend(medians: list[float], warm: bool) -> None:
    assert protocol.is_warm(medians) is warm


def test_abba_runs_every_second_round_backwards() -> None:
    order = protocol.abba_order(["a", "b", "c"], 2)
    assert order == [("a", 0), ("b", 0), ("c", 0), ("c", 1), ("b", 1), ("a", 1)]


@given(st.integers(1, 8), st.integers(1, 5))
def test_over_pairs_of_rounds_all_variants_have_the_same_mean_place(variants: int, pairs: int) -> None:
    order = protocol.abba_order([str(number) for number in range(variants)], 2 * pairs)
    places: Counter[str] = Counter()
    for place, (variant, _) in enumerate(order):
        places[variant] += place
    assert len(set(places.values())) == 1


@pytest.mark.parametrize(("fraction", "samples"), [(0.5, 5), (0.95, 59), (0.99, 299)])
def test_percentiles_need_so_many_samples(fraction: float, samples: int) -> None:
    assert protocol.fewest_samples(fraction) == samples


@given(latencies, st.floats(0.01, 1.0))
def test_percentile_is_the_inverse_of_the_empirical_distribution(samples: list[int], fraction: float) -> None:
    found = protocol.percentile(samples, fraction)
    assert found in samples
    assert sum(value <= found for value in samples) >= fraction * len(samples) - 1e-9
    assert sum(value < found for value in samples) < fraction * len(samples) + 1e-9


@pytest.mark.parametrize(("samples", "fraction"), [([], 0.5), ([1], 0.0), ([1], 1.1)])
def test_percentile_refuses(samples: list[int], fraction: float) -> None:
    with pytest.raises(ValueError, match="percentile"):
        protocol.percentile(samples, fraction)


@pytest.mark.parametrize("fraction", [0.5, 0.9, 0.95])
@pytest.mark.parametrize("n", [100, 237, 500])
def test_bounds_are_order_statistics_of_the_binomial(n: int, fraction: float) -> None:
    bounds = protocol.percentile_bounds(range(1, n + 1), fraction)
    assert bounds is not None
    lower, upper = bounds  # samples equal their ranks
    chance = stats.binom.cdf(upper - 1, n, fraction) - stats.binom.cdf(lower - 1, n, fraction)
    assert chance >= 0.95
    assert stats.binom.cdf(lower, n, fraction) > 0.025  # one rank tighter would miss
    assert stats.binom.cdf(upper - 2, n, fraction) < 0.975


def test_too_few_samples_have_no_bounds() -> None:
    assert protocol.percentile_bounds(list(range(59)), 0.95) is None
    assert protocol.percentile_bounds(list(range(80)), 0.95) is not None


@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 5, 9, 30])
@pytest.mark.parametrize("probability", [0.75, 0.95, 0.975, 0.9875])
def test_students_quantile_is_scipys(degrees: int, probability: float) -> None:
    expected = float(stats.t.ppf(probability, degrees))
    assert protocol.student_quantile(probability, degrees) == pytest.approx(expected, rel=1e-9)


def test_interval_is_students_t_on_the_logarithms() -> None:
    medians = [1.00, 1.02, 0.99, 1.01, 1.03]
    logs = [math.log(value) for value in medians]
    lower, upper = stats.t.interval(0.95, 4, statistics.fmean(logs), statistics.stdev(logs) / math.sqrt(5))
    assert protocol.log_interval(medians) == pytest.approx(
        (statistics.geometric_mean(medians), math.exp(lower), math.exp(upper)), rel=1e-9
    )


@pytest.mark.parametrize("medians", [[], [1.0], [1.0, 0.0]])
def test_interval_needs_two_positive_medians(medians: list[float]) -> None:
    with pytest.raises(ValueError, match="two positive medians"):
        protocol.log_interval(medians)


def test_a_grade_is_content_with_its_own_width() -> None:
    wide, narrow = [1.0, 1.1, 0.9, 1.05, 0.95], [1.0, 1.001, 0.999, 1.0, 1.001]
    assert not protocol.interval_reached(wide, GRADES["normal"])
    assert protocol.interval_reached(narrow, GRADES["normal"])
    assert protocol.interval_reached([100.0, 103.0, 101.0], GRADES["quick"])
    assert not protocol.interval_reached([100.0, 110.0, 101.0], GRADES["quick"])


@pytest.mark.parametrize(("estimate_ns", "calls"), [(4e6, 1), (1e6, 1), (0.9e6, 2), (1e4, 100), (0, 1_000_000)])
def test_short_calls_are_bundled_to_a_millisecond(estimate_ns: float, calls: int) -> None:
    assert protocol.calls_per_sample(estimate_ns) == calls


def test_drift_compares_last_third_with_first() -> None:
    assert protocol.drift_ratio([100] * 10 + [150] * 10 + [110] * 10) == pytest.approx(0.1)
    assert protocol.drift_ratio([1, 2, 3, 4]) == 0.0


def test_disturbed_samples_lost_more_than_the_clocks_grain() -> None:
    wall = [1_000_000, 1_000_000, 100_000_000, 100_000_000]
    cpu = [990_000, 900_000, 96_000_000, 90_000_000]
    assert protocol.disturbed_ratio(wall, cpu) == 0.5


def readings(**changes: object) -> dict[str, object]:
    return {
        "probe_before_ns": 1000,
        "probe_after_ns": 1000,
        "drift_ratio": 0.0,
        "disturbed_ratio": 0.0,
        "after": {"throttled_bits": None},
        "calls_per_sample": 1,
        "queries_in_rotation": 8,
        **changes,
    }


@pytest.mark.parametrize(
    ("changes", "flags"),
    [
        ({}, []),
        ({"probe_after_ns": 1029}, []),
        ({"probe_after_ns": 1031}, ["probe_slower"]),
        ({"probe_after_ns": 1101}, ["probe_invalid"]),
        ({"probe_after_ns": 500}, []),
        ({"drift_ratio": 0.031}, ["drift"]),
        ({"disturbed_ratio": 0.051}, ["disturbed"]),
        ({"disturbed_ratio": None}, []),
        ({"after": {"throttled_bits": 0b100}}, ["throttled"]),
        ({"after": {"throttled_bits": 0x50000}}, []),  # happened once, does not hold now
        ({"calls_per_sample": 2}, ["mean_of_k"]),
        ({"queries_in_rotation": 7}, ["few_inputs"]),
    ],
)
def test_flags_follow_from_readings(changes: dict[str, object], flags: list[str]) -> None:
    assert protocol.replicate_flags(readings(**changes), GRADES["normal"]) == flags


def test_a_drift_in_a_short_loop_does_not_void() -> None:
    assert protocol.replicate_flags(readings(drift_ratio=0.5), GRADES["quick"]) == ["drift_short"]
    assert not REMEDIES["drift_short"][1]
    assert REMEDIES["drift"][1]


def test_quick_spends_at_most_six_seconds_a_variant() -> None:
    rule = GRADES["quick"]
    assert rule.budget_s == 6.0
    assert (rule.replicates + 1) * rule.longest_process_s <= rule.budget_s  # one doubtful process may be repeated
    assert (rule.replicates, rule.most_replicates) == (3, 5)


@pytest.mark.parametrize("grade", ["quick", "normal", "ranking"])
def test_looks_come_after_the_first_processes_and_rise(grade: str) -> None:
    rule = GRADES[grade]  # type: ignore[index]
    points = (rule.replicates, *rule.looks)
    assert list(points) == sorted(set(points))
    assert rule.fewest_quiet <= rule.replicates
