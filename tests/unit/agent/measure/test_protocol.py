"""The measuring rules against closed forms and tables."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.measure import protocol
from agent.measure.protocol import GRADES


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
