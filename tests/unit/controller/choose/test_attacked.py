"""The limit on what may be lost under attack: decided as the loss on plain inputs is, and never by silence."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from controller.choose.attacked import check_attack
from controller.choose.choose import choose
from controller.choose.goals import Goals
from controller.choose.measured import Judgement, Measured
from controller.errors import ConfigurationError
from tests.unit.controller.choose.test_choose import FP32, GOALS, variant


def goals(**changes: Any) -> Goals:
    return Goals.model_validate(GOALS.model_dump() | {"max_attacked_drop_ratio": 0.05, "attack_epsilon": 0.1} | changes)


def attacked(measured: Measured, lost: int, of: int = 242, right: int = 150) -> Measured:
    """Return it with answers under attack: `lost` fewer right than `right` of `of`."""
    correct = np.arange(of) < right - lost
    return replace(measured, attacked=Judgement({"pgd_accuracy": float(correct.mean())}, correct=correct))


CONTROL = attacked(FP32, 0)


def test_a_variant_that_gives_way_under_attack_is_rejected_with_the_bound() -> None:
    strong, weak = attacked(variant("strong", ms=1.5, wire=500), 2), attacked(variant("weak", ms=1.0, wire=300), 12)
    found = choose(goals(), CONTROL, [strong, weak])
    assert found.winner == "strong"
    assert found.rejected["weak"].startswith("under attack (epsilon 0.1): lost 4.96 points, at most ")
    assert found.rejected["weak"].endswith("the limit is 5.00 points")
    assert choose(GOALS, CONTROL, [strong, weak]).winner == "weak", "without the limit it is not asked"
    assert choose(goals(decide_on="point_estimate"), CONTROL, [strong, weak]).winner == "weak"


@pytest.mark.parametrize("side", ["control", "candidate"])
def test_what_was_not_attacked_does_not_keep_the_limit(side: str) -> None:
    plain = replace(variant("tflite", ms=1.0), not_attacked="attacks need ONNX")
    control, candidate = (CONTROL, plain) if side == "candidate" else (FP32, attacked(plain, 0))
    found = choose(goals(), control, [candidate])
    assert found.winner == "fp32"
    expected = {
        "control": "fp32 was not attacked: no reason given",
        "candidate": "tflite was not attacked: attacks need ONNX",
    }
    assert found.rejected["tflite"] == expected[side]


def test_a_limit_that_cannot_be_shown_is_refused_before() -> None:
    check_attack(goals(), 242, classifies=True)
    check_attack(GOALS, 1, classifies=False)
    with pytest.raises(ConfigurationError, match=r"0\.005 cannot be shown with 242 attacked .* give 598 or more"):
        check_attack(goals(max_attacked_drop_ratio=0.005), 242, classifies=True)
    check_attack(goals(max_attacked_drop_ratio=0.005, decide_on="point_estimate"), 242, classifies=True)
    with pytest.raises(ConfigurationError, match="attacks are made on classifiers"):
        check_attack(goals(), 242, classifies=False)


@pytest.mark.parametrize("lacking", ["max_attacked_drop_ratio", "attack_epsilon"])
def test_the_limit_and_the_strength_go_together(lacking: str) -> None:
    with pytest.raises(ValidationError, match="go together"):
        goals(**{lacking: None})
    with pytest.raises(ValidationError, match="proves a loss of 0"):
        goals(max_attacked_drop_ratio=0)
