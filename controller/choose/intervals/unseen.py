"""How large a mean can be, with room for what the samples happen not to show. Pure; numpy.

Decides: the bound. Leaves out: which values (`loss`).

Student's t says 0 +- 0 where no two models differ on any sample, and so does every bootstrap, however few samples there
are. Here the mean is bounded as if one more sample had been seen, lost altogether, as Agresti and Coull do to shares;
and a share of samples that could well have been missed (1 - error^(1/n), the rule of three) is granted to be lost. Of
right-or-wrong answers this is within a tenth of the exact bound (`paired`); of others it is approximate, as t is.

>>> round(mean_upper(np.zeros(242), 1.0, 0.95), 4)
0.0123

Source: Agresti and Coull, Approximate is better than "exact", American Statistician 52 (1998) 119-126; for pairs
Agresti and Min, Statistics in Medicine 24 (2005) 729-740.
"""

from math import sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from controller.choose.paired import smallest_resolvable

Floats = NDArray[np.float64]


def mean_upper(values: Floats, most: float, confidence: float) -> float:
    """Return an upper confidence bound on the mean of independent values.

    Args:
        values: Shape (n,), n >= 1.
        most: The value of a sample that is lost altogether; none is larger.
        confidence: One-sided, in (0, 1).
    Raises:
        ValueError: No values, one above `most`, or one that is not finite.
    """
    if len(values) == 0 or not np.isfinite(values).all() or values.max() > most:
        raise ValueError(f"{len(values)} values: one or more are needed, finite and not above {most:g}")
    mean, n = float(values.mean()), len(values) + 1
    more = np.append(values, most)
    half = float(student.ppf(confidence, n - 1)) * float(more.std(ddof=1)) / sqrt(n)
    missed = mean + (most - mean) * smallest_resolvable(len(values), confidence)
    return min(most, max(float(more.mean()) + half, missed))


def mean_interval(values: Floats, within: tuple[float, float], confidence: float) -> tuple[float, float]:
    """Return a two-sided interval of the mean of values within two ends: two bounds with half of the error each."""
    least, most = within
    share = 1 - (1 - confidence) / 2
    return -mean_upper(-values, -least, share), mean_upper(values, most, share)
