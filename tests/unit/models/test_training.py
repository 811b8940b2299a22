import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest


@pytest.fixture
def leaf(torch: Any, models: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    torch.set_num_threads(1)
    monkeypatch.syspath_prepend(str(models.parent))
    return importlib.import_module("models.leaf_outline.train")


@pytest.fixture
def soil(torch: Any, models: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    torch.set_num_threads(1)
    monkeypatch.syspath_prepend(str(models.parent))
    return importlib.import_module("models.soil_carbon.train")


def test_the_hold_out_takes_a_fifth_of_each_species(leaf: Any, torch: Any) -> None:
    labels = torch.tensor([0] * 50 + [1] * 30 + [2] * 15)
    kept, held = leaf.hold_out(labels)
    assert sorted([*kept, *held]) == list(range(95))
    assert np.bincount(labels.numpy()[held]).tolist() == [10, 6, 3]
    assert np.array_equal(held, leaf.hold_out(labels)[1])


def test_an_augmented_outline_is_the_same_outline_turned_or_mirrored(leaf: Any, torch: Any) -> None:
    outline = torch.arange(427.0).expand(32, 1, 427)
    made = leaf.augment(outline, 0.0, torch.Generator().manual_seed(0))[:, 0]
    steps = (made[:, 1:] - made[:, :-1]) % 427
    assert (made.sort(dim=1).values == outline[:, 0]).all()
    assert set(steps.unique().tolist()) == {1.0, 426.0}  # both directions, no jump but the one from end to start
    assert all(len(row.unique()) == 1 for row in steps)


@pytest.mark.parametrize(("step", "factor"), [(0, 0.1), (9, 1.0), (10, 1.0), (55, 0.5), (100, 0.0)])
def test_the_rate_rises_then_follows_half_a_cosine(leaf: Any, step: int, factor: float) -> None:
    assert leaf.rate_factor(step, 100, 0.1) == pytest.approx(factor)


@pytest.mark.parametrize(("correct", "seed"), [([38, 40, 39], 1), ([39, 39, 38], 0), ([38, 39, 39], 1)])
def test_the_best_seed_is_chosen_and_the_lowest_among_equals(leaf: Any, correct: list[int], seed: int) -> None:
    fits = [leaf.Fitted(number, "hold-out", count, 41, 1.0) for number, count in enumerate(correct)]
    assert leaf.chosen_seed(fits[::-1]) == seed


def test_fitting_is_repeatable_and_learns(leaf: Any, torch: Any) -> None:
    wave = torch.arange(64) * (2 * torch.pi / 64)  # the network takes any length; a short one is quick
    inputs = torch.stack([torch.sin((2 + 6 * (row % 2)) * wave) for row in range(20)])[:, None, :]
    waves = leaf.Outlines(inputs, torch.arange(20) % 2)
    recipe = leaf.Recipe(epochs=3, reestimate_passes=1, average_decay=0.5)
    first, second = leaf.fit(waves, 0, recipe), leaf.fit(waves, 0, recipe)
    assert all(torch.equal(one, other) for one, other in zip(first.parameters(), second.parameters(), strict=True))
    assert leaf.correct(first, waves) == 20


def test_a_perfect_prediction_scores_one_and_the_mean_scores_zero(soil: Any) -> None:
    targets = np.array([[1.0], [2.0], [3.0]], dtype=np.float32)
    perfect, mean = soil.score(targets, targets), soil.score(targets, np.full_like(targets, 2.0))
    assert (perfect.r2, perfect.root_mean_squared_error, perfect.rows) == (1.0, 0.0, 3)
    assert (mean.r2, mean.mean_absolute_error) == (0.0, pytest.approx(0.6667))


def test_statistics_standardise_and_restore(soil: Any) -> None:
    rows = np.array([[1.0, 10.0], [3.0, 30.0]], dtype=np.float32)
    statistics = soil.Statistics.of(rows)
    assert statistics.standardise(rows).tolist() == [[-1.0, -1.0], [1.0, 1.0]]
    np.testing.assert_array_equal(statistics.restore(statistics.standardise(rows)), rows)


@pytest.fixture
def fashion(torch: Any, models: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    torch.set_num_threads(1)
    monkeypatch.syspath_prepend(str(models.parent))
    return importlib.import_module("models.fashion.train")


def test_a_moved_picture_is_the_same_picture_moved_or_mirrored(fashion: Any, torch: Any) -> None:
    pictures = torch.arange(1.0, 785.0).view(1, 1, 28, 28).expand(64, 1, 28, 28)
    made = fashion.augment(pictures, 2, torch.Generator().manual_seed(0))
    inside = made[:, 0, 4:24, 4:24]
    across = set((inside[:, :, 1:] - inside[:, :, :-1]).unique().tolist())
    down = set((inside[:, 1:] - inside[:, :-1]).unique().tolist())
    assert across == {1.0, -1.0}  # half of them are mirrored
    assert down == {28.0}  # none is turned upside down
    black = -fashion.MEAN / fashion.DEVIATION
    moved = {float(value) for value in made.unique() if not 1 <= float(value) <= 784}
    assert list(moved) == [pytest.approx(black)]


def test_the_hold_out_is_the_last_of_each_class(fashion: Any, torch: Any) -> None:
    labels = torch.arange(10).repeat(600)
    kept, held = fashion.hold_out(labels)
    assert np.bincount(labels.numpy()[held]).tolist() == [500] * 10
    assert sorted([*kept, *held]) == list(range(6000))
    assert kept.max() < held.min()


def test_what_training_scales_is_what_the_model_declares(fashion: Any) -> None:
    pixels = np.array([[[0, 255]]], np.uint8)
    expected = [(value - fashion.MEAN) / fashion.DEVIATION for value in (0.0, 1.0)]
    assert fashion.scaled(pixels).ravel() == pytest.approx(expected, rel=1e-6)
