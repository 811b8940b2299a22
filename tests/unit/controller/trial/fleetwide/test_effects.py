"""A slow device is found, a slow model is not blamed on a device, and chance names few."""

from math import exp, log

import numpy as np
import pytest

from controller.trial.fleetwide.effects import Table, Value, deviations, factors, normalised, outlying
from controller.trial.fleetwide.thresholds import CRITICAL_DEVIATION

NOISE = 1e-6


def row(*factors: float) -> dict[str, Value]:
    return {f"d{number}": Value(log(each), NOISE) for number, each in enumerate(factors)}


def table(control: tuple[float, ...], *variants: tuple[float, ...]) -> Table:
    return {"fp32": row(*control), **{f"v{number}": row(*each) for number, each in enumerate(variants)}}


def natural(chance: np.random.Generator, devices: int, spread: float = 0.03) -> dict[str, Value]:
    return {f"d{number}": Value(each, NOISE) for number, each in enumerate(chance.normal(0, spread, devices))}


def named(values: dict[str, Value]) -> list[tuple[str, float, str]]:
    return [(device, round(exp(away), 3), certainty) for device, (away, certainty) in outlying(values).items()]


@pytest.mark.parametrize("devices", [2, 3, 4, 5, 6, 7, 10, 20, 60])
def test_chance_names_a_device_in_at_most_one_class_of_twenty(devices: int) -> None:
    chance = np.random.default_rng(devices)
    blamed = [bool(outlying(natural(chance, devices))) for _ in range(600)]
    assert np.mean(blamed) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 600)


@pytest.mark.parametrize("devices", [5, 10, 30])
def test_the_critical_deviations_are_those_of_normal_values(devices: int) -> None:
    sample = np.random.default_rng(1).standard_normal((20_000, devices))
    away = np.abs(sample - np.median(sample, axis=1, keepdims=True))
    passed = away.max(axis=1) / (1.4826 * np.median(away, axis=1))
    critical = [value for fewest, value in CRITICAL_DEVIATION if fewest <= devices][-1]
    assert 0.02 < np.mean(passed > critical) <= 0.055


@pytest.mark.parametrize(("devices", "found_in"), [(3, 0.85), (5, 0.9), (10, 0.95), (20, 0.98)])
def test_a_device_40_percent_slower_is_found(devices: int, found_in: float) -> None:
    chance = np.random.default_rng(100 + devices)
    found = 0
    for _ in range(200):
        values = natural(chance, devices)
        values["d0"] = Value(log(1.4) + values["d0"].mean, NOISE)
        found += set(outlying(values)) == {"d0"}
    assert found / 200 >= found_in


def test_many_devices_are_likely_few_are_possible() -> None:
    few, many = (1.0, 1.01, 1.4), (1.0, 1.01, 0.99, 1.02, 1.0, 0.98, 1.4)
    assert named(row(*few)) == [("d2", 1.386, "possible")]
    assert named(row(*many)) == [("d6", 1.4, "likely")]


def test_of_two_the_slower_one_is_named_and_of_one_nobody() -> None:
    assert named(row(1.0, 1.3)) == [("d1", 1.3, "possible")]
    assert outlying(row(1.0, 1.1)) == {}
    assert outlying(row(3.0)) == {}


def test_devices_that_merely_differ_are_not_named() -> None:
    assert outlying(row(1.0, 1.2, 1.45)) == {}
    assert outlying(row(1.0, 1.0, 1.4, 1.4)) == {}


def test_a_deviation_within_its_own_noise_is_not_named() -> None:
    noisy = {name: Value(each.mean, 0.01) for name, each in row(1.0, 1.0, 1.4).items()}
    assert outlying(noisy) == {}


def test_a_slow_device_is_slow_in_every_variant() -> None:
    slow = (1.0, 1.01, 1.4)
    found = deviations(table(slow, slow, slow), "fp32")
    assert [(each.kind, each.device, each.agreeing, each.others) for each in found] == [("device", "d2", 2, 2)]
    assert found[0].ratio == pytest.approx(1.4 / 1.01)


def test_a_slow_model_is_not_blamed_on_devices() -> None:
    same = (1.0, 1.01, 1.02)
    assert deviations(table(same, tuple(5 * each for each in same)), "fp32") == []


def test_a_variant_that_is_slow_on_one_device_is_named_there() -> None:
    same, there = (1.0, 1.01, 1.02), (1.0, 1.5, 1.02)
    found = deviations(table(same, same, there), "fp32")
    assert [(each.kind, each.device, each.variant) for each in found] == [("variant", "d1", "v1")]


def test_a_variant_on_a_slow_device_is_judged_with_the_device_divided_out() -> None:
    slow = (1.0, 1.01, 1.4)
    found = deviations(table(slow, slow, (2.0, 2.02, 2.8 * 1.5)), "fp32")
    assert [(each.kind, each.device, each.variant) for each in found] == [
        ("device", "d2", "fp32"),
        ("variant", "d2", "v1"),
    ]
    assert found[1].ratio == pytest.approx(1.5)


def test_a_control_that_is_slow_alone_is_not_a_slow_device() -> None:
    same = (1.0, 1.01, 1.02)
    found = deviations(table((1.0, 1.5, 1.02), same, same), "fp32")
    assert [(each.kind, each.device, each.agreeing) for each in found] == [("control", "d1", 0)]


def test_six_variants_rarely_name_one_by_chance() -> None:
    chance = np.random.default_rng(31)
    blamed = 0
    for _ in range(200):
        device = natural(chance, 6)
        rows = {
            f"v{number}": {name: Value(each.mean + chance.normal(0, 0.015), NOISE) for name, each in device.items()}
            for number in range(6)
        }
        blamed += any(each.kind == "variant" for each in deviations({"fp32": device, **rows}, "fp32"))
    assert blamed / 200 <= 0.05


def test_without_the_control_nothing_is_told_apart() -> None:
    assert deviations({"v0": row(1.0, 1.0, 1.5)}, "fp32") == []
    assert factors({"v0": row(1.0, 1.0, 1.5)}, "fp32") == {}


def test_factors_by_the_control_and_over_all() -> None:
    found = factors(table((1.0, 1.1, 2.0), (1.0, 1.0, 1.0), (1.0, 1.0, 1.0)), "fp32")
    assert found["d2"] == pytest.approx((2.0 / 1.1, 1.0))


def test_the_control_divides_a_devices_factor_out() -> None:
    control, variant = row(1.0, 1.2, 2.0), row(0.5, 0.6, 1.0)
    found = normalised(variant, control)
    assert found is not None
    assert (found.speed_up.value, found.spread, found.devices) == pytest.approx((2.0, 0.0, 3))
    assert found.speed_up.lower == pytest.approx(found.speed_up.upper)
    assert normalised(row(1.0), control) is None


def test_the_normalised_speed_up_has_students_bounds() -> None:
    variant = {"d0": Value(-0.7, 0.0), "d1": Value(-0.5, 0.0), "d2": Value(-0.6, 0.0)}
    found = normalised(variant, row(1.0, 1.0, 1.0))
    assert found is not None
    half = 2.919986 * 0.1 / np.sqrt(3)  # Student's t, 2 degrees of freedom, 95 % one-sided
    assert found.speed_up.upper == pytest.approx(exp(0.6 + half), rel=1e-6)
    assert found.lower <= found.spread <= found.upper
