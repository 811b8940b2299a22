"""The smallest loss that an evaluation set can show, and which sets are too poor for any claim. Pure.

>>> round(smallest_visible("classification", 242, 0.95), 4)
0.0123
>>> refusal("classification", 6, 0.95)
'6 samples are too few to claim a difference: the smallest loss that they could show at 95% is 0.393'
"""

from math import inf

from controller.choose.paired import smallest_resolvable
from controller.choose.regression import FEWEST_SAMPLES

WIDEST_VISIBLE = 0.2
"""A set that shows nothing smaller than this is too small for any claim: of classes, one of 13 samples or fewer."""
KINDS = ("classification", "regression", "detection", "segmentation", "sequence", "embedding", "anomaly")


def smallest_visible(kind: str, samples: int, confidence: float) -> float:
    """Return the smallest loss that can be excluded when control and variant answer all samples alike.

    The unit is that of the score which limits speak of: a share of the samples, R2, mean IoU, mean average precision,
    token accuracy, AUROC, cosine. So many samples may have missed a share 1 - error^(1/n) that a variant loses
    altogether: for R2, answers no better than the mean; for embeddings, ones at right angles to the baseline's.

    Args:
        kind: Of the model.
        samples: Of the evaluation set, >= 1; for anomalies, of the rarer sort.
        confidence: One-sided, in (0, 1).
    Returns:
        Infinity where a bound of this kind needs more samples than these.
    Raises:
        ValueError: No samples, or a kind that is not known.
    """
    if samples < 1:
        raise ValueError("no samples: an empty evaluation set shows nothing")
    if kind not in KINDS:
        raise ValueError(f"unknown kind {kind!r}; known are {', '.join(KINDS)}")
    if kind == "regression" and samples < FEWEST_SAMPLES:
        return inf
    return smallest_resolvable(samples, confidence)


def refusal(kind: str, samples: int, confidence: float) -> str | None:
    """Return why so few samples show no difference of any use; None where they do."""
    smallest = smallest_visible(kind, samples, confidence)
    if smallest == inf:
        return f"{samples} samples are too few to claim a difference: a bound on R2 needs {FEWEST_SAMPLES}"
    if smallest <= WIDEST_VISIBLE:
        return None
    named = "of the rarer sort " if kind == "anomaly" else ""
    return (
        f"{samples} samples {named}are too few to claim a difference: the smallest loss that they could show at "
        f"{confidence:.0%} is {smallest:.3f}"
    )
