"""What is drawn: repeatable, of the distributions that were asked for, shared as asked."""

import statistics
from collections import Counter
from pathlib import Path
from random import Random

import pytest

from controller.errors import ConfigurationError
from simulator.classes import SHIPPED, LatencyModel, SimulatedClass, class_of, load_classes
from simulator.draw import Shares, Traits, answers, bundle_median_ms, query_ms, shares_of, traits_of
from tools.source import ROOT

MODEL = LatencyModel(median_ms=10.0, device_ratio=0.2, query_ratio=0.1, tail_ratio=0.0)


def test_devices_spread_as_the_class_says() -> None:
    paces = [traits_of(1, f"d-{number}", MODEL, Shares()).pace for number in range(500)]
    assert statistics.median(paces) == pytest.approx(1.0, rel=0.05)
    assert statistics.stdev(paces) == pytest.approx(0.2, rel=0.2)


def test_queries_spread_as_the_class_says_and_some_are_disturbed() -> None:
    chance = Random("queries")
    drawn = [query_ms(chance, MODEL, 10.0) for _ in range(1000)]
    assert statistics.median(drawn) == pytest.approx(10.0, rel=0.02)
    disturbed = MODEL.model_copy(update={"tail_ratio": 0.1, "tail_times": 10.0})
    slow = sum(query_ms(chance, disturbed, 10.0) > 50 for _ in range(1000))
    assert slow == pytest.approx(100, abs=40)


def test_a_device_is_the_same_in_every_run_and_misbehaves_by_the_shares() -> None:
    shares = Shares(slow=0.3, failing=0.1, vanishing=0.0, flapping=1.0)
    found = [traits_of(7, f"d-{number}", MODEL, shares) for number in range(1000)]
    assert found[3] == traits_of(7, "d-3", MODEL, shares)
    assert found[3] != traits_of(8, "d-3", MODEL, shares)
    assert sum(each.slow for each in found) == pytest.approx(300, abs=60)
    assert sum(each.failing for each in found) == pytest.approx(100, abs=40)
    assert not any(each.vanishing for each in found)
    assert all(each.flapping for each in found)


def test_a_slow_device_is_four_times_slower() -> None:
    usual, slow = traits_of(1, "d", MODEL, Shares()), traits_of(1, "d", MODEL, Shares(slow=1.0))
    assert slow.pace == pytest.approx(4 * usual.pace)
    assert isinstance(slow, Traits)


def test_larger_bundles_are_slower() -> None:
    small, large = (bundle_median_ms(1, MODEL, "a" * 64, size) for size in (2**20, 2**24))
    assert large == pytest.approx(2 * small)


def test_bundles_answer_nearly_alike_and_no_better_than_chance() -> None:
    first, second = (answers(1, "e" * 64, bundle * 64, 2000, 4) for bundle in "ab")
    differing = sum(one != other for one, other in zip(first, second, strict=True))
    assert 1 <= differing <= 60
    assert Counter(first)[0] == pytest.approx(500, abs=100)


def test_all_of_a_total_is_shared() -> None:
    shared = shares_of(Random("x"), [f"label-{number}" for number in range(20)], 101)
    assert sum(shared.values()) == 101
    assert len(shared) <= 8
    assert shares_of(Random("x"), ["only"], 0) == {}


def test_every_run_of_numbers_has_the_classes_in_their_shares() -> None:
    names = Counter(class_of(SHIPPED, number).name for number in range(1000, 1400))
    assert names["sim-small"] == pytest.approx(200, abs=8)
    assert names["sim-large"] == pytest.approx(100, abs=8)


def test_the_shipped_file_is_read_and_a_faulty_one_named(tmp_path: Path) -> None:
    found = load_classes(ROOT / "configs" / "simulator" / "classes.yaml")
    assert [each.name for each in found] == ["sim-pi", "sim-box"]
    assert isinstance(found[0], SimulatedClass)
    assert load_classes(None) is SHIPPED
    faulty = tmp_path / "classes.yaml"
    faulty.write_text("version: 1\nsimulated: [{name: a, latency: {median_ms: -1}}]\n")
    with pytest.raises(ConfigurationError, match=r"latency\.median_ms"):
        load_classes(faulty)
