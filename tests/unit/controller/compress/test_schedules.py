"""Polynomial decay, held against values that follow from its formula by hand; the Keras example's own is the same."""

import ast
import dataclasses
import doctest
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from controller.compress.training import schedules
from controller.compress.training.schedules import PolynomialDecay

EXAMPLE = Path(__file__).parents[4] / "docs" / "examples" / "keras_pruning.py"

USUAL = PolynomialDecay(begin=100, end=500, frequency=50)


@pytest.mark.parametrize(
    ("step", "sparsity"),
    [
        (0, 0.0),
        (99, 0.0),
        (100, 0.0),  # 0.5 - 0.5 * 1^3
        (200, 0.5 - 0.5 * 27 / 64),  # a quarter of the way: (3/4)^3
        (300, 0.5 - 0.5 / 8),
        (400, 0.5 - 0.5 / 64),
        (500, 0.5),
        (10_000, 0.5),
    ],
)
def test_half_of_the_weights_go_from_begin_to_end(step: int, sparsity: float) -> None:
    assert USUAL.sparsity(step) == pytest.approx(sparsity, abs=1e-12)


def test_another_start_and_power() -> None:
    schedule = PolynomialDecay(begin=0, end=10, frequency=1, initial=0.2, final=0.8, power=1)
    assert [schedule.sparsity(step) for step in (0, 5, 10)] == pytest.approx([0.2, 0.5, 0.8])


def test_sparsity_never_falls_and_no_step_is_steeper_than_the_one_before() -> None:
    ratios = [USUAL.sparsity(step) for step in range(100, 501)]
    gains = [after - before for before, after in itertools.pairwise(ratios)]
    assert min(gains) > 0
    assert all(later <= earlier + 1e-12 for earlier, later in itertools.pairwise(gains))


def test_masks_are_chosen_every_few_steps_and_at_the_end_in_any_case() -> None:
    schedule = PolynomialDecay(begin=10, end=25, frequency=10)
    assert [step for step in range(60) if schedule.chooses_at(step)] == [10, 20, 25]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"begin": -1}, "begin -1, end 500"),
        ({"begin": 500}, "0 <= begin < end"),
        ({"frequency": 0}, "frequency 0: at least 1"),
        ({"final": 1.0}, "initial 0.0, final 1.0"),
        ({"initial": 0.6}, "0 <= initial <= final < 1"),
        ({"final": float("nan")}, "final nan"),
        ({"power": 0.0}, "power 0.0"),
    ],
)
def test_what_makes_no_schedule_is_refused(change: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        PolynomialDecay(**{"begin": 100, "end": 500, "frequency": 50, **change})


def test_the_example_in_its_docstring_holds() -> None:
    assert doctest.testmod(schedules).failed == 0
    assert doctest.testmod(schedules).attempted == 2


@pytest.fixture(scope="module")
def example() -> dict[str, Any]:
    """What the Keras example defines that needs no Keras, which is not installed here: its schedule and its masks."""
    names: dict[str, Any] = {"dataclass": dataclasses.dataclass, "np": np}
    tree = ast.parse(EXAMPLE.read_text(encoding="utf-8"))
    tree.body = [each for each in tree.body if getattr(each, "name", None) in ("Schedule", "mask")]
    exec(compile(tree, EXAMPLE, "exec"), names)
    return names


def test_the_keras_example_has_the_same_schedule(example: dict[str, Any]) -> None:
    for bounds in ((100, 500, 50, 0.0, 0.5), (0, 287, 10, 0.0, 0.5), (3, 17, 4, 0.2, 0.9)):
        own, ours = example["Schedule"](*bounds), PolynomialDecay(*bounds)
        for step in range(600):
            assert own.sparsity(step) == pytest.approx(ours.sparsity(step), abs=1e-12)
            assert own.chooses_at(step) == ours.chooses_at(step)


def test_the_keras_example_takes_the_smallest_weights_and_never_gives_one_back(example: dict[str, Any]) -> None:
    weights = np.random.default_rng(0).normal(size=(3, 3, 4, 8)).astype(np.float32)
    gone = np.zeros(weights.shape, bool)
    for sparsity in (0.0, 0.1, 0.35, 0.5):
        kept = example["mask"](weights, sparsity)
        assert np.sum(kept == 0) == round(sparsity * weights.size)
        assert (kept[gone] == 0).all()
        assert np.abs(weights[kept == 0]).max(initial=0) <= np.abs(weights[kept == 1]).min()
        gone, weights = kept == 0, weights * kept
