"""Quantiles of the mixture against closed forms, and bounds that hold on fleets never seen."""

import numpy as np
import pytest
from scipy.special import ndtri

from controller.trial.fleetwide.components import fit
from controller.trial.fleetwide.observed import Cell, observe
from controller.trial.fleetwide.prediction import predict
from tests.unit.controller.trial.fleetwide.kit import BASE_NS, SPREADS, fleet


def test_without_differences_it_is_the_samples_own_percentile() -> None:
    samples = 1_000_000 + 1_000 * np.arange(1, 201)
    cells = [Cell(name, "v", False, (observe(samples),) * 2) for name in "ab"]
    found = predict(fit(cells), cells, tails=True)
    assert found.p50_ns.value == pytest.approx(1_100_000, rel=0.005)
    assert found.p95_ns is not None
    assert found.p95_ns.value == pytest.approx(1_190_000, rel=0.002)
    assert found.device_p50_ns.value == pytest.approx(1_100_500, rel=0.001)


def test_normal_parts_add_up() -> None:
    chance = np.random.default_rng(21)
    cells = fleet(chance, 40)
    model = fit(cells)
    found = predict(model, cells, tails=True)
    assert found.p95_ns is not None
    spread = np.sqrt(sum(each.variance for each in model.components))
    assert np.log(found.p95_ns.value) == pytest.approx(model.centre + ndtri(0.95) * spread, abs=0.005)
    device = model.centre + ndtri(0.95) * model["device"].spread
    assert np.log(found.device_p50_ns.value) == pytest.approx(device)


def test_bounds_enclose_the_value_and_few_devices_widen_them() -> None:
    chance = np.random.default_rng(22)
    widths = {}
    for devices in (2, 3, 10):
        cells = fleet(chance, devices)
        found = predict(fit(cells), cells, tails=True)
        assert found.p95_ns is not None
        for each in (found.p50_ns, found.p95_ns, found.device_p50_ns):
            assert each.lower <= each.value <= each.upper
        widths[devices] = np.log(found.device_p50_ns.upper / found.device_p50_ns.value)
    assert widths[2] > widths[3] > widths[10]


def test_no_tail_where_samples_are_no_queries() -> None:
    cells = fleet(np.random.default_rng(23), 2)
    assert predict(fit(cells), cells, tails=False).p95_ns is None


def test_the_fleet_p95_bound_covers_fleets_with_known_truth() -> None:
    """A bound of 95 %: of 60 fleets of three devices some 57 are covered; four standard errors are 11 %."""
    chance = np.random.default_rng(24)
    truth = np.log(BASE_NS) + ndtri(0.95) * np.sqrt(sum(spread**2 for spread in SPREADS.values()))
    upper, lower = [], []
    for _ in range(60):
        cells = fleet(chance, 3)
        found = predict(fit(cells), cells, tails=True).p95_ns
        assert found is not None
        upper.append(np.log(found.upper) >= truth)
        lower.append(np.log(found.lower) <= truth)
    assert np.mean(upper) >= 0.84
    assert np.mean(lower) >= 0.80
    assert not all(lower)  # a bound that always holds says nothing


def test_the_bound_on_devices_medians_covers_them() -> None:
    chance = np.random.default_rng(25)
    truth = np.log(BASE_NS) + ndtri(0.95) * SPREADS["device"]
    covered = 0
    for _ in range(200):
        model = fit(fleet(chance, 4, 3, time=0.0, query=0.01))
        drawn = model.draws.centre + ndtri(0.95) * np.sqrt(model.draws.device)
        covered += bool(np.quantile(drawn, 0.95) >= truth)
    assert 0.885 <= covered / 200 < 1.0  # four standard errors of 200 are 6.2 %


@pytest.mark.parametrize(("devices", "least", "most"), [(2, 1.5, 3.5), (3, 1.15, 1.5), (10, 1.03, 1.09)])
def test_the_bound_is_as_wide_as_the_documents_say(devices: int, least: float, most: float) -> None:
    """Typically: the median of 25 fleets whose devices differ by 5 %."""
    chance = np.random.default_rng(26)
    found = []
    for _ in range(25):
        cells = fleet(chance, devices)
        p95 = predict(fit(cells), cells, tails=True).p95_ns
        assert p95 is not None
        found.append(p95.upper / p95.value)
    assert least < np.median(found) < most
