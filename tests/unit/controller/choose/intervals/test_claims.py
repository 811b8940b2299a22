"""What may be claimed: nothing on tiny sets or of one class; worse, better or no difference elsewhere."""

import numpy as np
import pytest

from controller.choose.intervals.evidence import Cosines, Evidence, Ratios, RightOrWrong, Scores, SquaredErrors
from controller.choose.intervals.loss import claim, paired_bound
from controller.choose.intervals.smallest import KINDS, refusal, smallest_visible


def answers(right: int, wrong: int, classes: int = 3) -> RightOrWrong:
    return RightOrWrong(np.arange(right + wrong) < right, classes)


def test_a_tiny_set_claims_nothing_and_says_the_smallest() -> None:
    said = claim("classification", answers(6, 0), answers(0, 6))
    assert (said.says, said.lower) == ("refused", None)
    assert said.text == (
        "6 samples are too few to claim a difference: the smallest loss that they could show at 95% is 0.393"
    )


def test_labels_of_one_class_claim_nothing() -> None:
    said = claim("classification", answers(90, 10, classes=1), answers(50, 50, classes=1))
    assert said.says == "refused"
    assert said.text.startswith("all 100 samples are of one class")
    ones = np.ones((30, 2))
    masks = Ratios(ones, ones, np.array([[True, False]] * 30))
    assert claim("segmentation", masks, masks).text.startswith("all 30 samples are of one class")


def test_regression_is_refused_before_its_bound_fails() -> None:
    few = SquaredErrors(np.ones(12), 4.0)
    assert claim("regression", few, few).text == (
        "12 samples are too few to claim a difference: a bound on R2 needs 30"
    )
    flat = SquaredErrors(np.ones(40), 0.0)
    assert "R2 is not defined" in claim("regression", flat, flat).text


def test_the_rarer_sort_of_anomalies_counts() -> None:
    strange = np.arange(300) < 5
    scores = Scores(np.arange(300.0), strange)
    assert claim("anomaly", scores, scores).text.startswith("5 samples of the rarer sort are too few")


@pytest.mark.parametrize(
    ("control", "variant", "says"),
    [(230, 200, "worse"), (200, 230, "better"), (230, 229, "no_difference_shown"), (230, 230, "no_difference_shown")],
)
def test_worse_better_or_no_difference(control: int, variant: int, says: str) -> None:
    said = claim("classification", answers(control, 242 - control), answers(variant, 242 - variant))
    assert said.says == says
    assert said.bound is not None
    assert said.lower is not None
    assert said.lower <= said.bound.lost <= said.bound.upper
    assert ("0.0123" in said.text) == (says == "no_difference_shown")


def test_equal_variants_are_seldom_called_different() -> None:
    """Two sides at 95 % each: 10 % at most; cosines of equally good embeddings, 40 samples."""
    random, sets = np.random.default_rng(7), 300
    called = 0
    for _ in range(sets):
        one, other = (Cosines(1 - random.beta(2, 30, 40)) for _ in range(2))
        called += claim("embedding", one, other).says in ("worse", "better")
    assert called / sets <= 0.1 + 2 * (0.1 * 0.9 / sets) ** 0.5


def test_an_embedding_that_turned_is_worse() -> None:
    same = Cosines(np.ones(50))
    turned = Cosines(np.full(50, 0.9))
    assert claim("embedding", same, same).says == "no_difference_shown"
    assert claim("embedding", same, turned).says == "worse"
    assert paired_bound(same, turned, 0.95).upper > 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_more_samples_show_less(kind: str) -> None:
    found = [smallest_visible(kind, count, 0.95) for count in (5, 40, 242)]
    assert found[2] == pytest.approx(0.0123, abs=1e-4)
    assert found[0] > found[1] > found[2]
    assert refusal(kind, 5, 0.95)
    assert refusal(kind, 242, 0.95) is None


def test_the_smallest_is_the_bound_where_nothing_differs() -> None:
    ones = np.ones((60, 1))
    for kind, same in (
        ("embedding", Cosines(np.ones(60))),
        ("sequence", Ratios(ones, ones, ones > 0)),
        ("classification", answers(60, 0)),
        ("anomaly", Scores(np.arange(120.0), np.arange(120) >= 60)),
    ):
        evidence: Evidence = same
        found = smallest_visible(kind, 60, 0.95)
        assert paired_bound(evidence, evidence, 0.95).upper == pytest.approx(found, abs=2e-6)


def test_unknown_kinds_empty_sets_and_mixed_evidence_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown kind 'haiku'"):
        smallest_visible("haiku", 10, 0.95)
    with pytest.raises(ValueError, match="no samples"):
        smallest_visible("embedding", 0, 0.95)
    with pytest.raises(ValueError, match="different ways"):
        paired_bound(answers(1, 1), Cosines(np.ones(2)), 0.95)
    with pytest.raises(ValueError, match="answered 2 samples, the variant 3"):
        paired_bound(answers(1, 1), answers(1, 2), 0.95)
