"""When golden outputs pass: the rule of GoldenSpec, row by row."""

import numpy as np
import pytest
from numpy.typing import NDArray

from agent.inference.golden import judge_golden, signal_to_noise_db
from wire.manifest import GoldenSpec
from wire.spec import Kind

EXPECTED = np.array([[10.0, 0.0, -5.0], [1.0, 8.0, 2.0]], dtype=np.float32)
RULE = GoldenSpec(samples=2, absolute=0.01, relative=0.01, sqnr_db=20.0, top1_agreement_ratio=0.99)
NAN, INF = float("nan"), float("inf")


def changed(row: int, column: int, value: float) -> NDArray[np.float32]:
    given = EXPECTED.copy()
    given[row, column] = value
    return given


@pytest.mark.parametrize(
    ("given", "kind", "passes"),
    [
        (EXPECTED, "classification", True),
        (changed(0, 0, 10.1), "classification", True),  # within 0.01 + 0.01 * 10
        (changed(0, 0, 10.5), "classification", True),  # not close, same arg max, 28 dB
        (changed(0, 0, 10.5), "regression", False),  # regression has no second way
        (changed(0, 0, 16.0), "classification", False),  # same arg max, 7 dB
        (changed(1, 2, 8.1), "classification", False),  # another arg max
        (changed(0, 1, NAN), "classification", False),
        (changed(0, 1, INF), "regression", False),
        (EXPECTED[:1], "classification", False),
        (changed(0, 0, 10.5), "detection", True),  # not close, 28 dB
        (changed(0, 0, 10.5), "segmentation", True),
        (changed(0, 0, 16.0), "detection", False),  # 7 dB
        (changed(0, 1, NAN), "detection", False),
    ],
)
def test_rule(given: NDArray[np.float32], kind: Kind, passes: bool) -> None:
    assert judge_golden(EXPECTED, given, RULE, kind).passed is passes


def test_the_verdict_says_by_how_much() -> None:
    golden = judge_golden(EXPECTED, changed(0, 0, 10.5), RULE, "classification")
    assert golden.max_abs_difference == pytest.approx(0.5)
    assert golden.top1_agreement_ratio == 1.0
    assert "28.9 dB" in golden.detail


def test_what_is_expected_to_be_infinite_may_be() -> None:
    expected = changed(0, 1, INF)
    assert judge_golden(expected, expected.copy(), RULE, "regression").passed


def test_noise_without_signal_is_no_signal() -> None:
    zeros = np.zeros(3)
    assert signal_to_noise_db(zeros, zeros) == INF
    assert signal_to_noise_db(zeros, zeros + 1) == -INF
