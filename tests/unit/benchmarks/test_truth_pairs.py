"""Pairs of the truth benchmark: kept whole, gone on with, and judged; what is wrong with them turns claims false."""

import itertools
import json
import math
import random
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.truth_parts.pairs.claims import WANTED_SAME, WANTED_SLOWER, pair_claims, rate_bounds
from benchmarks.truth_parts.pairs.state import Kind, OtherMachine, Pair, State
from benchmarks.truth_parts.pairs.take import Wanted

HERE = {"processor": "p", "machine": "m", "python": "3", "packages": {"onnxruntime": "1"}, "load_1m": 0.5}
MS = 1e6


def pair(kind: Kind = "same", number: int = 0, ratio: float = 1.0, spread: float = 0.005) -> Pair:
    """A pair whose rounds scatter like those of a quiet host, and whose processes wander by a factor of two."""
    source = random.Random(f"{kind}{number}{ratio}")
    wander = [1 + source.random() for _ in range(5)]
    log_ratios = tuple(math.log(ratio) + source.gauss(0, spread) for _ in wander)
    first = tuple(2 * MS * each for each in wander)
    second = tuple(2 * MS * each * math.exp(value) for each, value in zip(wander, log_ratios, strict=True))
    at = "2026-01-01T00:00:00Z"
    return Pair(kind, number, log_ratios, first, second, {"disturbed": 1}, 0, 20.0, at, 0.4, ("busy_host",))


def state_of(folder: Path, *pairs: Pair) -> State:
    state = State(folder / "pairs.jsonl", HERE)
    for each in pairs:
        state.add(each)
    return state


def test_pairs_are_kept_and_read_again(tmp_path: Path) -> None:
    made = [pair(), pair("slower", 0, 1.05), pair(number=1)]
    state_of(tmp_path, *made)
    again = State(tmp_path / "pairs.jsonl", {**HERE, "load_1m": 9.0})
    assert again.pairs == made
    assert [len(again.of("same")), len(again.of("slower"))] == [2, 1]
    assert State(tmp_path / "pairs.jsonl", None).conditions == HERE


def test_a_line_that_was_cut_off_is_measured_again(tmp_path: Path) -> None:
    state_of(tmp_path, pair(), pair(number=1))
    path = tmp_path / "pairs.jsonl"
    path.write_text(path.read_text()[:-40])
    cut = path.read_text()
    assert [each.number for each in State(path, None).pairs] == [0]
    assert path.read_text() == cut, "a report may be made while the line is being written"
    state = State(path, HERE)
    assert [each.number for each in state.pairs] == [0]
    state.add(pair(number=1))
    assert [each.number for each in State(path, HERE).pairs] == [0, 1]
    assert all(json.loads(line) for line in path.read_text().splitlines())


@pytest.mark.parametrize("name", ["processor", "python", "packages"])
def test_pairs_of_another_machine_are_not_added_to(tmp_path: Path, name: str) -> None:
    state_of(tmp_path, pair())
    with pytest.raises(OtherMachine, match=f"another {name}"):
        State(tmp_path / "pairs.jsonl", {**HERE, name: "other"})


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pairs.jsonl").write_text('{"some": "thing"}\n')
    with pytest.raises(ValueError, match="of schema none, not 2"):
        State(tmp_path / "pairs.jsonl", None)


def test_pairs_that_were_measured_process_by_process_are_not_mixed_in(tmp_path: Path) -> None:
    (tmp_path / "pairs.jsonl").write_text(json.dumps({"schema": 1, "conditions": HERE}) + "\n")
    with pytest.raises(ValueError, match="of schema 1, not 2: give another --state"):
        State(tmp_path / "pairs.jsonl", HERE)


def test_both_kinds_are_spread_over_the_run_and_a_run_goes_on_where_it_stopped() -> None:
    whole = list(Wanted(200, 100).missing({}))
    assert (whole.count("same"), whole.count("slower")) == (200, 100)
    assert whole[:6] == ["same", "same", "slower"] * 2
    for done in (1, 2, 3, 150, 299):
        have = {kind: whole[:done].count(kind) for kind in ("same", "slower")}
        assert list(Wanted(200, 100).missing(have)) == whole[done:]
    assert list(Wanted(3, 0).missing({"same": 1})) == ["same", "same"]
    assert list(Wanted(2, 4).missing({"same": 2})) == ["slower"] * 4


def test_a_quiet_machine_makes_both_claims_hold(tmp_path: Path) -> None:
    same = [pair(number=number) for number in range(WANTED_SAME)]
    slower = [pair("slower", number, 1.05) for number in range(WANTED_SLOWER)]
    claims = pair_claims(state_of(tmp_path, *same, *slower))
    assert [claim.holds for claim in claims] == [True, True]
    assert claims[1].value == 1.0
    assert "ratio of all 1.05" in claims[1].how
    assert "of 200 pairs" in claims[0].how
    assert "ratios of one pair's rounds spread by 0." in claims[0].how
    assert "5 to 5 rounds in lock-step" in claims[0].how


def test_a_side_that_is_really_slower_and_one_that_is_not_turn_the_claims_false(tmp_path: Path) -> None:
    biased = [pair(number=number, ratio=1.03) for number in range(WANTED_SAME)]
    unseen = [pair("slower", number, 1.05, spread=0.1) for number in range(WANTED_SLOWER)]
    claims = pair_claims(state_of(tmp_path, *biased, *unseen))
    assert [claim.holds for claim in claims] == [False, False]
    assert (claims[0].value or 0.0) > 0.9
    assert (claims[1].value or 0.0) < 0.5


def test_a_slow_down_called_faster_is_not_found(tmp_path: Path) -> None:
    swapped = [pair("slower", number, 0.95) for number in range(WANTED_SLOWER)]
    assert pair_claims(state_of(tmp_path, *swapped))[1].value == 0.0


def test_few_pairs_claim_no_rate(tmp_path: Path) -> None:
    claims = pair_claims(state_of(tmp_path, *(pair(number=number) for number in range(20))))
    assert [(claim.value, claim.holds) for claim in claims] == [(None, False), (None, False)]
    assert "20 pairs claim no rate (200 do): " in claims[0].how
    assert "0 pairs claim no rate" in claims[1].how


def test_equal_process_medians_are_no_error(tmp_path: Path) -> None:
    flat = replace(pair(), first_ns=(MS,) * 5, second_ns=(MS,) * 5, log_ratios=(0.0,) * 5)
    claims = pair_claims(state_of(tmp_path, *itertools.repeat(flat, WANTED_SAME)))
    assert claims[0].value == 0.0


@pytest.mark.parametrize(
    ("hits", "n", "lower", "upper"),
    # Clopper & Pearson: no hits 1 - 0.025 ** (1 / n), all hits 0.025 ** (1 / n); 5 of 200 as R's binom.test gives it.
    [(0, 200, 0.0, 1 - 0.025 ** (1 / 200)), (100, 100, 0.025 ** (1 / 100), 1.0), (5, 200, 0.00817, 0.05739)],
)
def test_the_bounds_of_a_rate_are_exact(hits: int, n: int, lower: float, upper: float) -> None:
    assert rate_bounds(hits, n) == pytest.approx((lower, upper), abs=2e-5)
