"""The exact paired bound: known values, coverage by enumeration, agreement with a brute force."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.choose import paired
from controller.choose.paired import PairedTable, loss_bound, loss_p_value, samples_needed, smallest_resolvable
from controller.choose.wording import loss_text


@pytest.mark.parametrize(("samples", "loss"), [(242, 0.0123), (598, 0.005), (59, 0.0495), (1, 0.95)])
def test_without_disagreement_the_bound_is_the_rule_of_three(samples: int, loss: float) -> None:
    bound = loss_bound(PairedTable(0, 0, samples), 0.95)
    assert bound.lost == 0
    assert bound.upper == pytest.approx(1 - 0.05 ** (1 / samples), abs=2e-6)
    assert bound.upper == pytest.approx(loss, abs=6e-5)
    assert smallest_resolvable(samples, 0.95) == pytest.approx(bound.upper, abs=2e-6)


def test_half_a_point_needs_598_samples() -> None:
    assert samples_needed(0.005, 0.95) == 598
    assert smallest_resolvable(598, 0.95) <= 0.005 < smallest_resolvable(597, 0.95)


@pytest.mark.parametrize("samples", [6, 16])
def test_coverage_by_enumeration(samples: int) -> None:
    """Whatever the truth, the bound lies below it in at most 5 % of all evaluation sets."""
    tables = [(b, c) for b in range(samples + 1) for c in range(samples + 1 - b)]
    upper = np.array([loss_bound(PairedTable(b, c, samples), 0.95).upper for b, c in tables])
    log_ways = np.array([_log_ways(b, c, samples) for b, c in tables])
    worst = 1.0
    for p10 in (0.0, 0.01, 0.05, 0.1, 0.2, 0.35, 0.5, 0.8):
        for p01 in (0.0, 0.01, 0.04, 0.1, 0.15, 0.3, 0.45):
            if p10 + p01 <= 1:
                chance = np.exp(log_ways + [_log_chance(b, c, samples, p10, p01) for b, c in tables])
                assert chance.sum() == pytest.approx(1)
                worst = min(worst, float(chance[upper >= p10 - p01].sum()))
    assert worst >= 0.95 - 1e-9
    assert worst < 0.99  # it is not needlessly wide


@pytest.mark.parametrize("table", [PairedTable(0, 0, 20), PairedTable(2, 1, 20), PairedTable(5, 0, 20)])
@pytest.mark.parametrize("loss", [-0.05, 0.02, 0.1, 0.2])
def test_the_p_value_agrees_with_a_brute_force(table: PairedTable, loss: float) -> None:
    """Sum the trinomial over every table that is as extreme, on a much finer grid."""
    n = table.samples
    grid = [(b, c) for b in range(n + 1) for c in range(n + 1 - b)]
    score = paired._score(np.array([b for b, _ in grid], float), np.array([c for _, c in grid], float), n, loss)
    seen = score[grid.index((table.control_only, table.variant_only))]
    extreme = [cell for cell, value in zip(grid, score, strict=True) if value <= seen + 1e-9]
    best = 0.0
    for p01 in np.linspace(max(0, -loss), (1 - loss) / 2, 500):
        chance = (math.exp(_log_ways(b, c, n) + _log_chance(b, c, n, p01 + loss, p01)) for b, c in extreme)
        best = max(best, sum(chance))
    found = loss_p_value(table, loss)
    assert found == pytest.approx(best, abs=2e-4)


@pytest.mark.parametrize("samples", [9, 25])
def test_the_extreme_region_has_one_edge(samples: int) -> None:
    for loss in np.linspace(-0.95, 0.95, 39):
        for won in range(samples + 1):
            lost = np.arange(samples - won + 1, dtype=float)
            assert np.all(np.diff(paired._score(lost, np.full_like(lost, won), samples, loss)) > -1e-9)


@given(st.data())
@settings(max_examples=20, deadline=None)
def test_one_more_lost_sample_never_lowers_the_bound(data: st.DataObject) -> None:
    n = data.draw(st.integers(2, 40))
    lost = data.draw(st.integers(0, n - 1))
    won = data.draw(st.integers(0, n - 1 - lost))
    bound = loss_bound(PairedTable(lost, won, n), 0.95)
    assert bound.lost <= bound.upper <= 1
    assert loss_bound(PairedTable(lost + 1, won, n), 0.95).upper >= bound.upper - 1e-5


def test_a_better_variant_can_be_shown_to_be_better() -> None:
    assert loss_bound(PairedTable(0, 10, 242), 0.95).upper < 0


def test_the_large_sample_fallback_is_named_and_wider() -> None:
    exact = loss_bound(PairedTable(30, 20, 10_000), 0.95)
    fallback = loss_bound(PairedTable(30, 20, 10_001), 0.95)
    assert exact.method.startswith("exact")
    assert fallback.method == "two Clopper-Pearson bounds (conservative)"
    assert exact.upper < fallback.upper < 3 * exact.upper


@pytest.mark.parametrize(
    ("lost", "won", "says"),
    [
        (1, 0, "lost 0.41 points, at most 1.95 at 95% (no difference shown: that takes 1.23 with these samples)"),
        (9, 0, "lost 3.72 points, at most 6.40 at 95%"),
        (0, 9, "gained 3.72 points, lost at most -1.95 at 95%"),
    ],
)
def test_a_difference_that_the_samples_could_not_show_is_not_claimed(lost: int, won: int, says: str) -> None:
    found = loss_bound(PairedTable(lost, won, 242), 0.95)
    assert found.smallest == pytest.approx(0.0123, abs=1e-4)
    assert loss_text(found, "points") == says


def test_the_table_counts_pairs() -> None:
    control = np.array([True, True, False, True, False])
    variant = np.array([True, False, True, False, False])
    table = PairedTable.of(control, variant)
    assert table == PairedTable(2, 1, 5)
    assert table.lost == pytest.approx(0.2)
    with pytest.raises(ValueError, match="control answered"):
        PairedTable.of(control, variant[:3])


@pytest.mark.parametrize("counts", [(-1, 0, 5), (3, 3, 5), (0, 0, 0)])
def test_impossible_tables_are_refused(counts: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match=r"paired table|no samples"):
        PairedTable(*counts)
    with pytest.raises(ValueError, match="no samples"):
        smallest_resolvable(0, 0.95)


def _log_ways(b: int, c: int, n: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(b + 1) - math.lgamma(c + 1) - math.lgamma(n - b - c + 1)


def _log_chance(b: int, c: int, n: int, p10: float, p01: float) -> float:
    parts = [(b, p10), (c, p01), (n - b - c, max(0.0, 1 - p10 - p01))]
    if any(count and share <= 0 for count, share in parts):
        return -math.inf
    return sum(count * math.log(share) for count, share in parts if count)
