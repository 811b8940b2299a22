"""Losses by hand."""

import math

import pytest

torch = pytest.importorskip("torch")

from controller.compress.training.losses import Objective, absolute_size, feature_loss  # noqa: E402

LOGITS, TEACHER = torch.tensor([[0.0, 0.0]]), torch.tensor([[math.log(3.0) * 2, 0.0]])
RIGHT = torch.tensor([[1.0, 0.0]])


def test_labels_by_cross_entropy() -> None:
    assert float(Objective("classification").hard(LOGITS, RIGHT)) == pytest.approx(math.log(2))


def test_smoothed_labels() -> None:
    found = Objective("classification", label_smoothing=0.2).hard(torch.tensor([[math.log(3.0), 0.0]]), RIGHT)
    assert float(found) == pytest.approx(-0.9 * math.log(0.75) - 0.1 * math.log(0.25))


def test_the_teacher_at_a_temperature() -> None:
    """At T = 2 the teacher says 3/4 and 1/4, the student 1/2 and 1/2: T^2 KL = 4 (3/4 ln 3/2 + 1/4 ln 1/2)."""
    expected = 4 * (0.75 * math.log(1.5) + 0.25 * math.log(0.5))
    assert float(Objective("classification", temperature=2.0).soft(LOGITS, TEACHER)) == pytest.approx(expected)


def test_both_in_a_ratio() -> None:
    objective = Objective("classification", alpha=0.25, temperature=2.0)
    soft, hard = float(objective.soft(LOGITS, TEACHER)), float(objective.hard(LOGITS, RIGHT))
    assert float(objective.loss(LOGITS, RIGHT, TEACHER)) == pytest.approx(0.25 * hard + 0.75 * soft)
    assert float(objective.loss(LOGITS, None, TEACHER)) == pytest.approx(soft)
    assert float(objective.loss(LOGITS, RIGHT, None)) == pytest.approx(hard)


def test_nothing_to_learn_from_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing to learn from"):
        Objective("classification").loss(LOGITS, None, None)


def test_probabilities_count_as_their_logarithms() -> None:
    given = torch.tensor([[0.75, 0.25]])
    assert float(Objective("classification", probabilities=True).hard(given, RIGHT)) == pytest.approx(-math.log(0.75))


def test_numbers_by_their_square_error() -> None:
    objective = Objective("regression", alpha=0.5)
    out, known, taught = torch.tensor([[1.0], [2.0]]), torch.tensor([[1.0], [4.0]]), torch.tensor([[2.0], [2.0]])
    assert float(objective.loss(out, known, taught)) == pytest.approx(0.5 * 2.0 + 0.5 * 0.5)


def test_features_relative_to_the_teachers_power() -> None:
    assert float(feature_loss(torch.tensor([1.0, 3.0]), torch.tensor([2.0, 2.0]))) == pytest.approx(1 / 4)


def test_the_size_of_weights() -> None:
    assert float(absolute_size([torch.tensor([-1.0, 2.0]), torch.tensor([[0.5]])])) == 3.5
