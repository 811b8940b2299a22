"""Host-driven against device-driven: the statistics, and the committed rules."""

from math import exp, log

import pytest

from benchmarks.compression.fleet.__main__ import claim
from benchmarks.compression.fleet.rules import read_rules
from benchmarks.compression.fleet.verdict import verdict


def test_a_difference_that_all_seeds_show_is_seen() -> None:
    found = verdict("dual", [log(0.8), log(0.82), log(0.78), log(0.81), log(0.79)])
    assert (found.says, found.seeds) == ("devices", 5)
    assert found.ratio == pytest.approx(0.8, abs=0.002)
    assert found.lower < 0.8 < found.upper < 1
    assert verdict("dual", [0.2, 0.21, 0.19, 0.2, 0.22]).says == "host"


def test_no_difference_says_what_could_have_been_seen() -> None:
    found = verdict("dual", [0.1, -0.1, 0.1, -0.1, 0.0])
    assert found.says == "no difference seen"
    # Standard deviation 0.1 of five seeds, Student's quantile 2.776 of four degrees.
    assert found.smallest == pytest.approx(exp(2.776 * 0.1 / 5**0.5) - 1, rel=1e-3)
    assert "13.2 % could have been seen" in str(found)


def test_the_same_picks_in_all_seeds_are_no_difference() -> None:
    found = verdict("dual", [0.0] * 5)
    assert (found.says, found.ratio, found.smallest) == ("no difference seen", 1.0, 0.0)


def test_few_seeds_claim_nothing() -> None:
    assert verdict("dual", [-1.0, -1.01, None, -1.0, None]).says == "too few seeds"
    assert verdict("dual", [-1.0]).says == "too few seeds"
    assert str(verdict("dual", [None])) == "dual: nothing was compared"


def test_the_claim_holds_where_two_classes_are_better() -> None:
    better, same = verdict("a", [-0.5, -0.51, -0.5, -0.49, -0.5]), verdict("b", [0.0] * 5)
    assert claim([better, better, same]).holds
    assert not claim([better, same, same]).holds


def test_the_rules_were_fixed_beforehand() -> None:
    whole, quick = read_rules(quick=False), read_rules(quick=True)
    assert len(set(whole.seeds)) >= 5
    assert list(whole.classes) == ["emulated-single", "emulated-dual", "emulated-small"] == list(quick.classes)
    assert len(quick.seeds) == 1
