"""The table learns what it is told, and leaves to the host what it is not."""

import pytest

from controller.compress.search.table.checked import FEWEST, check, errors_of, rank_correlation
from controller.compress.search.table.fit import Trained, fit


def points(count: int, extra_ms: float, per_mac_ms: float = 0.0, factor: float = 1.0) -> list[Trained]:
    """Return points of a class that takes `factor` times the host's guess, and so much more a query and a million."""
    found = []
    for place in range(count):
        macs, host_ms = 0.5 + (place * 7 % count), 1.0 + 0.4 * place
        measured_ms = factor * host_ms + extra_ms + per_mac_ms * macs
        found.append(Trained({"query": 1.0, "macs.conv.int8": macs}, host_ms, measured_ms, f"g{place}"))
    return found


def test_what_each_operator_costs_is_learned() -> None:
    table = fit(points(16, extra_ms=2.0, per_mac_ms=0.5))
    costs = dict(zip(table.names, table.costs, strict=True))
    assert costs["host"] == pytest.approx(1.0, abs=0.1)
    assert costs["macs.conv.int8"] == pytest.approx(0.5, abs=0.1)
    assert table.milliseconds({"query": 1.0, "macs.conv.int8": 4.0}, 3.0) == pytest.approx(7.0, rel=0.05)


def test_where_the_host_is_right_the_table_says_the_same() -> None:
    table = fit(points(10, extra_ms=0.0))
    assert table.milliseconds({"query": 1.0, "macs.conv.int8": 9.0}, 3.0) == pytest.approx(3.0, rel=0.02)


def test_no_operator_is_ever_paid_for() -> None:
    table = fit([Trained({"query": 1.0, "macs.conv.int8": 5.0}, 4.0, 1.0), Trained({"query": 1.0}, 4.0, 4.0)])
    assert min(table.costs) >= 0.0


def test_what_no_trial_had_is_left_to_the_host() -> None:
    table = fit([Trained({"query": 1.0}, 2.0, 2.0)])
    assert table.milliseconds({"query": 1.0, "macs.dense.float16": 50.0}, 6.0) == pytest.approx(6.0, rel=0.02)


def test_too_few_graphs_are_no_test() -> None:
    same = [Trained({"query": 1.0}, 1.0, 3.0, "one graph") for _ in range(20)]
    found = check(same)
    assert (found.graphs, found.trusted) == (1, False)
    assert found.because == f"1 different graphs were measured, {FEWEST} are needed"


def test_a_table_is_trusted_where_it_guesses_better_than_the_host() -> None:
    found = check(points(12, extra_ms=3.0))
    assert found.trusted, found.because
    assert found.table is not None
    assert found.host is not None
    assert found.table.median < 0.05 < found.host.median
    assert found.wins > 6


def test_a_table_is_not_trusted_where_the_host_was_right() -> None:
    found = check(points(12, extra_ms=0.0))
    assert not found.trusted
    assert "no better than this host's ratios" in found.because


def test_errors_are_relative_and_ranks_are_spearmans() -> None:
    found = errors_of([1.1, 2.0, 2.0], [1.0, 2.0, 4.0])
    assert found.median == pytest.approx(0.1)
    # Ranks 1, 2.5, 2.5 against 1, 2, 3: covariance 1.5/2 over sqrt(1.5/2 * 2/2).
    assert found.rank == pytest.approx(0.75 / (0.75 * 1.0) ** 0.5)
    assert rank_correlation([1.0, 1.0], [1.0, 2.0]) is None
