"""The area under the receiver operating characteristic, of one variant and of the difference of two. Pure; numpy.

>>> auroc(np.array([0.1, 0.4, 0.4, 0.9]), np.array([False, False, True, True]))
0.875
"""

from math import sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri
from scipy.stats import rankdata

from controller.choose.intervals.unseen import mean_interval

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


def auroc(scores: Floats, anomalous: Bools) -> float:
    """Return the share of pairs of an anomalous and a normal sample in which the anomalous one scores higher.

    A tie counts one half: it is the area under the curve whose corners ties are joined by straight lines.

    Args:
        scores: Higher is stranger, shape (n,).
        anomalous: Shape (n,).
    Raises:
        ValueError: Only one of the two sorts is there.
    Source: Hanley and McNeil, Radiology 143 (1982) 29-36.
    """
    return float(components(scores, anomalous)[0].mean())


def components(scores: Floats, anomalous: Bools) -> tuple[Floats, Floats]:
    """Return of each anomalous sample the share of normal ones that it beats, and of each normal the share beating it.

    Shapes (m,) and (n,); either has the area as its mean.
    Source: Sun and Xu, Fast implementation of DeLong's algorithm, IEEE Signal Processing Letters 21 (2014) 1389-1393.
    """
    high, low = scores[anomalous], scores[~anomalous]
    m, n = len(high), len(low)
    if m == 0 or n == 0:
        raise ValueError(f"{m} anomalous and {n} normal samples: at least one of either is needed")
    ranks = rankdata(np.concatenate([high, low]))
    beats = (ranks[:m] - rankdata(high)) / n
    beaten = 1.0 - (ranks[m:] - rankdata(low)) / m
    return beats, beaten


def auroc_interval(scores: Floats, anomalous: Bools, confidence: float) -> tuple[float, float]:
    """Return a two-sided interval of the area: DeLong's, and no narrower than what the samples of either sort allow.

    DeLong's variance is 0 where both are told apart altogether.
    """
    beats, beaten = components(scores, anomalous)
    area, half = float(beats.mean()), float(ndtri((1 + confidence) / 2)) * delong_error(beats, beaten)
    sides = [mean_interval(np.clip(side, 0, 1), (0.0, 1.0), confidence) for side in (beats, beaten)]
    low, high = min(area - half, *(side[0] for side in sides)), max(area + half, *(side[1] for side in sides))
    return max(0.0, low), min(1.0, high)


def delong_error(beats: Floats, beaten: Floats) -> float:
    """Return the standard error of the area, or of a difference of two, from its components; 0 of single samples.

    Source: DeLong, DeLong and Clarke-Pearson, Biometrics 44 (1988) 837-845.
    """
    parts = [float(side.var(ddof=1)) / len(side) if len(side) > 1 else 0.0 for side in (beats, beaten)]
    return sqrt(sum(parts))
