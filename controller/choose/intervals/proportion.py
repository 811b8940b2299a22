"""Intervals of shares: so many of so many, each independent of the others. Pure.

>>> [round(bound, 4) for bound in wilson(0, 10)]
[0.0, 0.2775]
"""

from math import sqrt

from scipy.special import ndtri

CONFIDENCE = 0.95
"""Two-sided, of every interval that stands beside a metric."""


def wilson(part: int, whole: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Return Wilson's score interval of a share; (0, 1) where nothing was counted.

    Args:
        part: From 0 to `whole`.
        whole: >= 0.
        confidence: Two-sided, in (0, 1).
    Source: Wilson, Probable inference, JASA 22 (1927) 209-212.
    """
    if whole == 0:
        return 0.0, 1.0
    z2 = float(ndtri((1 + confidence) / 2)) ** 2
    share = part / whole
    middle = (share + z2 / (2 * whole)) / (1 + z2 / whole)
    half = sqrt(z2 * (share * (1 - share) + z2 / (4 * whole)) / whole) / (1 + z2 / whole)
    return (0.0 if part == 0 else middle - half), (1.0 if part == whole else middle + half)


def f1_interval(right: int, given: int, true: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Return an interval of F1 = 2 right / (given + true).

    right / (given + true - right) is a share of the samples that are of the class or called so; F1 grows with it.

    Args:
        right: Samples of the class that were called so.
        given: Samples that were called so.
        true: Samples of the class.
        confidence: Two-sided, in (0, 1).
    Source: Hand, Christen and Kirielle, F*: an interpretable transformation of the F-measure, Machine Learning 110
        (2021) 451-456.
    """
    low, high = wilson(right, given + true - right, confidence)
    return 2 * low / (1 + low), 2 * high / (1 + high)
