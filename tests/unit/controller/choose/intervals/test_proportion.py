"""Wilson's interval and that of F1, against published and simulated values."""

import numpy as np
import pytest

from controller.choose.intervals.proportion import f1_interval, wilson


@pytest.mark.parametrize(
    ("part", "whole", "low", "high"),
    # Newcombe, Statistics in Medicine 17 (1998) 857-872, table I, method 3.
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_as_published(part: int, whole: int, low: float, high: float) -> None:
    assert wilson(part, whole) == pytest.approx((low, high), abs=5e-5)
    assert wilson(whole - part, whole) == pytest.approx((1 - high, 1 - low), abs=5e-5)


def test_nothing_counted_says_nothing() -> None:
    assert wilson(0, 0) == (0.0, 1.0)
    assert f1_interval(0, 0, 0) == (0.0, 1.0)


def test_f1_lies_in_its_interval_which_covers_the_truth() -> None:
    low, high = f1_interval(right=8, given=10, true=12)
    assert low < 16 / 22 < high
    random, covered, sets = np.random.default_rng(5), 0, 800
    for _ in range(sets):  # 100 samples: 30 % right positives, 10 % false ones, 10 % missed
        right, false, missed, _ = random.multinomial(100, [0.3, 0.1, 0.1, 0.5])
        low, high = f1_interval(int(right), int(right + false), int(right + missed))
        covered += low <= 0.6 / 0.8 <= high
    # Counts are whole: of 50 with a share of 0.6 Wilson's interval itself covers 94.1 %.
    assert covered / sets >= 0.941 - 2 * (0.05 * 0.95 / sets) ** 0.5
