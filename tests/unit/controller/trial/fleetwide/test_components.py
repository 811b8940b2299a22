"""Variances known beforehand come out again, never below zero, with bounds that hold."""

import numpy as np
import pytest

from controller.trial.fleetwide.components import fit
from controller.trial.fleetwide.observed import Cell, Process, observe
from tests.unit.controller.trial.fleetwide.kit import SPREADS, fleet


def cell(device: str, *log_medians: float) -> Cell:
    """A device whose processes have nothing but a median."""
    nothing = np.empty(0)
    found = tuple(Process(each, nothing, 0.0, 0.0, np.zeros(200), 1) for each in log_medians)
    return Cell(device, "v", False, found)


def test_mean_squares_of_a_balanced_table() -> None:
    model = fit([cell("a", 1.0, 3.0), cell("b", 4.0, 6.0), cell("c", 9.0, 7.0)])
    # Within: (2 + 2 + 2) / 3 = 2. Means 2, 5, 8 have variance 9; device = 9 - 2/2.
    assert model["process"].variance == pytest.approx(2.0)
    assert model["device"].variance == pytest.approx(8.0)
    assert model.centre == pytest.approx(5.0)
    assert model.median_error == {"a": pytest.approx(1.0), "b": pytest.approx(1.0), "c": pytest.approx(1.0)}


def test_unequal_numbers_of_processes_count_by_their_harmonic_mean() -> None:
    model = fit([cell("a", 1.0, 3.0), cell("b", 4.0, 6.0, 5.0, 5.0)])
    # Within: (2 + 2) / 4 = 1. Means 2 and 5: variance 4.5; harmonic mean of 2 and 4 is 8/3.
    assert model["process"].variance == pytest.approx(1.0)
    assert model["device"].variance == pytest.approx(4.5 - 3 / 8)


def test_what_comes_out_negative_is_none_and_says_so() -> None:
    model = fit([cell("a", 1.0, 9.0), cell("b", 3.0, 11.0)])
    assert (model["device"].variance, model["device"].truncated) == (0.0, True)
    assert model["device"].lower == 0.0
    assert model["device"].upper > 0.0
    assert not model["process"].truncated


def test_one_process_a_device_cannot_be_told_from_it() -> None:
    model = fit([cell("a", 1.0), cell("b", 2.0), cell("c", 4.0)])
    assert not model.process_apart
    assert model["device"].variance == pytest.approx(np.var([1.0, 2.0, 4.0], ddof=1))
    assert model["process"].upper == 0.0


def test_one_device_is_refused() -> None:
    with pytest.raises(ValueError, match="two or more"):
        fit([cell("a", 1.0, 2.0)])


def test_the_same_records_give_the_same_bounds() -> None:
    cells = fleet(np.random.default_rng(4), 3)
    assert fit(cells).components == fit(cells).components


@pytest.mark.parametrize("correlation", [0.0, 0.6])
def test_known_variances_are_recovered(correlation: float) -> None:
    chance = np.random.default_rng(11)
    models = [fit(fleet(chance, 6, correlation=correlation)) for _ in range(50)]
    for name, spread in SPREADS.items():
        found = np.array([model[name].variance for model in models])  # type: ignore[index]
        error = found.std(ddof=1) / np.sqrt(len(found))
        allowed = 4 * error + (0.15 * spread**2 if name == "time" else 0.02 * spread**2)  # halves of a block are few
        assert abs(found.mean() - spread**2) < allowed, (name, found.mean() / spread**2)


def test_bounds_of_devices_and_processes_hold() -> None:
    chance = np.random.default_rng(12)
    inside = {"device": 0, "process": 0}
    for _ in range(150):
        model = fit(fleet(chance, 4, 3, time=0.0))
        for name in inside:
            found = model[name]  # type: ignore[index]
            inside[name] += found.lower <= SPREADS[name] ** 2 <= found.upper
    # Two bounds of 95 % each: 90 % lie between; four standard errors of 150 are 9.8 %.
    assert min(inside.values()) / 150 > 0.80, inside


def test_drift_within_processes_is_not_blamed_on_processes() -> None:
    chance = np.random.default_rng(13)
    models = [fit(fleet(chance, 5, correlation=0.7, process=0.0, time=0.03)) for _ in range(40)]
    process, time = (np.mean([model[name].variance for model in models]) for name in ("process", "time"))
    assert np.mean([model.correlation for model in models]) > 0.3
    assert process < 0.35 * time


def test_alternating_queries_are_no_time() -> None:
    """Every other query takes twice as long: nothing in it is slow, whatever the blocks' medians do."""
    found = observe(np.tile([1_000_000, 2_000_000], 100))
    assert found.blocks == pytest.approx(np.zeros(10))
    assert found.query > 0.1


def test_few_samples_have_no_blocks() -> None:
    found = observe([1_000_000, 1_100_000, 900_000])
    assert len(found.blocks) == 0
    assert found.query > 0
    with pytest.raises(ValueError, match="without samples"):
        observe([])


def test_equal_samples_have_no_variance() -> None:
    model = fit([Cell(name, "v", False, (observe([1_000_000] * 50),) * 2) for name in "ab"])
    assert [each.variance for each in model.components] == [0.0] * 4
