"""AUROC with ties by hand and by brute force, DeLong's error as published, and coverage of the paired bound."""

import numpy as np
import pytest

from controller.choose.intervals.auroc import auroc, auroc_interval, components, delong_error
from controller.choose.intervals.evidence import Scores
from controller.choose.intervals.loss import paired_bound


def test_ties_count_half() -> None:
    scores, strange = np.array([0.1, 0.4, 0.4, 0.9]), np.array([False, False, True, True])
    assert auroc(scores, strange) == 0.875  # of four pairs three and a half
    assert auroc(np.ones(4), strange) == 0.5
    assert auroc(-scores, strange) == 0.125


def test_components_agree_with_all_pairs() -> None:
    random = np.random.default_rng(3)
    scores, strange = random.integers(0, 6, 60).astype(float), random.random(60) < 0.3
    high, low = scores[strange], scores[~strange]
    wins = (high[:, None] > low) + 0.5 * (high[:, None] == low)
    beats, beaten = components(scores, strange)
    assert beats == pytest.approx(wins.mean(axis=1))
    assert beaten == pytest.approx(wins.mean(axis=0))


def test_one_sort_alone_has_no_area() -> None:
    with pytest.raises(ValueError, match="0 anomalous and 3 normal"):
        auroc(np.arange(3.0), np.zeros(3, bool))


def test_delongs_error_by_its_definition() -> None:
    beats, beaten = np.array([1.0, 0.5, 0.75]), np.array([0.5, 1.0])
    by_hand = (np.array([0.25, -0.25, 0.0]) ** 2).sum() / 2 / 3 + (2 * 0.25**2) / 1 / 2
    assert delong_error(beats, beaten) == pytest.approx(by_hand**0.5)


def test_perfect_scores_have_an_interval_all_the_same() -> None:
    low, high = auroc_interval(np.arange(20.0), np.arange(20) >= 10, 0.95)
    assert high == 1.0
    assert low == pytest.approx(0.025 ** (1 / 10), abs=0.02)


def test_where_nothing_differs_the_rarer_sort_decides() -> None:
    strange = np.arange(200) < 12
    scores = np.random.default_rng(1).normal(size=200) + 2 * strange
    bound = paired_bound(Scores(scores, strange), Scores(scores * 3 + 1, strange), 0.95)
    assert bound.lost == 0
    assert bound.upper == pytest.approx(1 - 0.05 ** (1 / 12))


def test_the_paired_bound_covers_the_true_loss() -> None:
    """Scores of both share what is strange in a sample; the variant adds noise. 30 anomalous, 60 normal."""
    random, strange, sets, missed = np.random.default_rng(8), np.arange(90) < 30, 300, 0
    # Normal scores: AUROC is Phi(d / sqrt(2) / s).
    truth = _area(1.5, 1.0) - _area(1.5, (1 + 0.8**2) ** 0.5)
    for _ in range(sets):
        base = random.normal(size=90) + 1.5 * strange
        noisy = base + random.normal(size=90, scale=0.8)
        missed += paired_bound(Scores(base, strange), Scores(noisy, strange), 0.95).upper < truth
    assert missed / sets <= 0.05 + 2 * (0.05 * 0.95 / sets) ** 0.5


def _area(distance: float, spread: float) -> float:
    from scipy.special import ndtr

    return float(ndtr(distance / spread / 2**0.5))


def test_other_labels_are_refused() -> None:
    one, other = Scores(np.arange(4.0), np.arange(4) < 2), Scores(np.arange(4.0), np.arange(4) < 3)
    with pytest.raises(ValueError, match="different labels"):
        paired_bound(one, other, 0.95)
