"""What a variant lost against the control on the same samples, for every kind of answer; and what may be claimed of it.

Decides: the paired bound of each kind, and when no difference may be claimed. Leaves out: limits. Pure.

| evidence | bound |
|---|---|
| right or wrong | exact unconditional, Tango's score (`paired`) |
| squared errors | Student's t with Johnson's correction (`regression`) |
| ratios, matches | jackknife over samples, its pseudo-values bounded with room for the unseen (`unseen`) |
| scores | DeLong's paired variance, and no less than either sort's components allow (`unseen`) |
| cosines | with room for the unseen (`unseen`) |

A bootstrap is not among them: of samples on which nothing differs it draws no difference, however few there are.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from controller.choose.intervals.auroc import components, delong_error
from controller.choose.intervals.average_precision import class_precisions, mean_precision, precision_pseudo_values
from controller.choose.intervals.evidence import (
    Cosines,
    Evidence,
    Matches,
    Ratios,
    RightOrWrong,
    Scores,
    SquaredErrors,
)
from controller.choose.intervals.jackknife import mean_ratio, ratio_pseudo_values
from controller.choose.intervals.smallest import refusal, smallest_visible
from controller.choose.intervals.unseen import mean_upper
from controller.choose.paired import LossBound, PairedTable, loss_bound, smallest_resolvable
from controller.choose.regression import FEWEST_SAMPLES, r2_loss_bound

Floats = NDArray[np.float64]
Says = Literal["worse", "better", "no_difference_shown", "refused"]


@dataclass(frozen=True)
class Claim:
    """What may be said of a variant against the control.

    bound: The loss as seen with its upper bound; None where it cannot be had. lower: Its lower bound, at the same
    confidence. smallest: The smallest loss that the set could show. text: All of it in words.
    """

    says: Says
    text: str
    bound: LossBound | None
    lower: float | None
    smallest: float


def claim(kind: str, control: Evidence, variant: Evidence, confidence: float = 0.95) -> Claim:
    """Return what may be claimed of a variant; nothing on a set that is too small, or of one class.

    Args:
        kind: Of the model.
        control: What the baseline's answers left.
        variant: The same of the variant, on the same samples in the same order.
        confidence: One-sided, of either bound.
    Raises:
        ValueError: The two were judged in different ways.
    """
    count = telling_samples(control)
    smallest = smallest_visible(kind, count, confidence)
    why = refusal(kind, count, confidence) or of_one_class(control)
    bound = None if isinstance(control, SquaredErrors) and why else paired_bound(control, variant, confidence)
    if why or bound is None:
        return Claim("refused", str(why), bound, None, smallest)
    if isinstance(control, SquaredErrors):
        smallest = bound.upper - bound.lost  # it follows from how the errors spread, not from their number
    lower = -paired_bound(variant, control, confidence).upper
    says: Says = "worse" if lower > 0 else "better" if bound.upper < 0 else "no_difference_shown"
    return Claim(says, _text(says, bound, lower, smallest), bound, lower, smallest)


def paired_bound(control: Evidence, variant: Evidence, confidence: float) -> LossBound:
    """Return the loss of the score with its one-sided upper bound.

    Raises:
        ValueError: Other samples, another kind of evidence, or too few samples for this kind of bound.
    """
    if len(control) != len(variant):
        raise ValueError(f"control answered {len(control)} samples, the variant {len(variant)}")
    match control, variant:
        case RightOrWrong(), RightOrWrong():
            return loss_bound(PairedTable.of(control.correct, variant.correct), confidence)
        case SquaredErrors(), SquaredErrors():
            return r2_loss_bound(control.errors, variant.errors, control.variance, confidence)
        case Ratios(), Ratios():
            values = ratio_pseudo_values(control) - ratio_pseudo_values(variant)
            return _jackknifed(mean_ratio(control) - mean_ratio(variant), values, confidence)
        case Matches(), Matches():
            values = precision_pseudo_values(control) - precision_pseudo_values(variant)
            scores = [mean_precision(class_precisions(each)) for each in (control, variant)]
            return _jackknifed(scores[0] - scores[1], values, confidence)
        case Scores(), Scores():
            return _auroc_loss(control, variant, confidence)
        case Cosines(), Cosines():
            return _cosine_loss(control, variant, confidence)
    raise ValueError("control and variant were judged in different ways; judge both again")


def output_bounds(control: SquaredErrors, variant: SquaredErrors, confidence: float) -> list[LossBound | None]:
    """Return the R2 lost in each output of a regression with its bound; None for one where none can be had."""
    if control.by_output is None or variant.by_output is None or len(control) < FEWEST_SAMPLES:
        return []
    (before, variances), (after, _) = control.by_output, variant.by_output
    return [
        r2_loss_bound(before[:, output], after[:, output], float(variance), confidence) if variance > 0 else None
        for output, variance in enumerate(variances)
    ]


def telling_samples(evidence: Evidence) -> int:
    """Return how many samples a claim rests on: for anomalies, those of the rarer sort."""
    if isinstance(evidence, Scores):
        return int(min(evidence.anomalous.sum(), (~evidence.anomalous).sum()))
    return len(evidence)


def of_one_class(evidence: Evidence) -> str | None:
    """Return why labels that are all alike show no difference; None where they are not."""
    match evidence:
        case RightOrWrong(classes=1):
            return f"all {len(evidence)} samples are of one class: a variant that always answers it would lose nothing"
        case Ratios() if evidence.parts.shape[1] > 1 and evidence.counted.any(axis=0).sum() < 2:
            return f"all {len(evidence)} samples are of one class: a variant that always answers it would lose nothing"
        case SquaredErrors() if not evidence.variance > 0:
            return f"the labels of all {len(evidence)} samples are alike: R2 is not defined"
    return None


def _jackknifed(lost: float, values: Floats, confidence: float) -> LossBound:
    """Bound a loss by its pseudo-values; a sample moves it by its own share, or by what the most telling one did."""
    most = max(1.0, float(np.abs(values).max()))
    upper = lost + mean_upper(values, most, confidence) - float(values.mean())
    return LossBound(
        lost, upper, confidence, "jackknife with one more sample lost", smallest_resolvable(len(values), confidence)
    )


def _auroc_loss(control: Scores, variant: Scores, confidence: float) -> LossBound:
    if not np.array_equal(control.anomalous, variant.anomalous):
        raise ValueError("control and variant were judged by different labels")
    before, after = (components(each.scores, each.anomalous) for each in (control, variant))
    sides = [np.clip(one - other, -1.0, 1.0) for one, other in zip(before, after, strict=True)]
    lost = float(sides[0].mean())
    delong = lost + float(ndtri(confidence)) * delong_error(sides[0], sides[1])
    allowed = max(mean_upper(side, 1.0, confidence) for side in sides)
    visible = smallest_resolvable(telling_samples(control), confidence)
    method = "paired DeLong, or either sort with one more sample lost"
    return LossBound(lost, max(delong, allowed), confidence, method, visible)


def _cosine_loss(control: Cosines, variant: Cosines, confidence: float) -> LossBound:
    values = control.cosines - variant.cosines
    upper = mean_upper(values, max(1.0, float(values.max())), confidence)
    visible = smallest_resolvable(len(values), confidence)
    return LossBound(float(values.mean()), upper, confidence, "mean with one more sample lost", visible)


def _text(says: Says, bound: LossBound, lower: float, smallest: float) -> str:
    verb = "gained" if bound.lost < 0 else "lost"
    seen = f"{verb} {abs(bound.lost):.4f}, between {lower:.4f} and {bound.upper:.4f} at {bound.confidence:.0%} each"
    if says != "no_difference_shown":
        return f"{says}: {seen}"
    return f"no difference shown ({seen}); the smallest loss that these samples could show is {smallest:.4f}"
