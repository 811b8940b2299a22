"""How much accuracy a variant may have lost at most: an exact bound from the answers to the same samples.

Decides: the bound for right-or-wrong answers, and the smallest loss that an evaluation set could show. Leaves out:
regression (`regression`), and what is done with the bound (`choose`). Pure; numpy and scipy.

>>> round(loss_bound(PairedTable(control_only=0, variant_only=0, samples=242), 0.95).upper, 4)
0.0123

A pair is one sample answered by both. With p10 = P(control right, variant wrong) and p01 the reverse, the accuracy lost
is p10 - p01. The bound inverts an exact unconditional test: the p-value of "at least d is lost" is the largest
probability, over all values of the nuisance parameter p01, of a table at least as extreme as the one seen, where
Tango's score statistic says what is extreme. Two sources of error remain: the largest probability is sought on a
grid and then refined, and the bound is bisected to 1e-6 (rounded up).
Sources: Tango, Statistics in Medicine 17 (1998) 891-908 (statistic); Hsueh, Liu and Chen, Biometrics 57 (2001)
478-483 (exact unconditional test of it).
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr, betaincinv, gammaln, xlog1py, xlogy

MOST_EXACT_SAMPLES = 10_000
"""Beyond it the conservative bound is used: the exact one would take seconds, and differs little by then."""
RESOLUTION = 1e-6
"""The bound is bisected to so much, and rounded up."""
NUISANCE_POINTS = 40
REFINING_POINTS = 9
NEGLIGIBLE = 1e-16
"""Terms of the sum below it are left out: together they are less than the bisection's error."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class PairedTable:
    """Samples that only the control, or only the variant, answered rightly, out of all."""

    control_only: int
    variant_only: int
    samples: int

    def __post_init__(self) -> None:
        if min(self.control_only, self.variant_only) < 0 or self.control_only + self.variant_only > self.samples:
            raise ValueError(f"counts do not form a paired table: {self}")
        if self.samples < 1:
            raise ValueError("no samples: an empty evaluation set shows nothing")

    @classmethod
    def of(cls, control: NDArray[np.bool_], variant: NDArray[np.bool_]) -> "PairedTable":
        """Return the table of two vectors (n,) of right answers to the same samples."""
        if control.shape != variant.shape:
            raise ValueError(f"control answered {control.shape} samples, the variant {variant.shape}")
        return cls(int(np.sum(control & ~variant)), int(np.sum(~control & variant)), len(control))

    @property
    def lost(self) -> float:
        """Share of the samples lost, as seen."""
        return (self.control_only - self.variant_only) / self.samples


@dataclass(frozen=True)
class LossBound:
    """The loss as seen and its one-sided upper confidence bound; `method` names how the bound was made.

    smallest: The smallest loss that so many samples could show; None where that is not known from their number.
    """

    lost: float
    upper: float
    confidence: float
    method: str
    smallest: float | None = None


def smallest_resolvable(samples: int, confidence: float) -> float:
    """Return the smallest loss that can be excluded when no sample is answered differently.

    Args:
        samples: Size of the evaluation set, >= 1.
        confidence: One-sided, in (0, 1).
    Returns:
        Share of the samples: 0.0123 for 242 at 0.95; 0.005 needs 598.
    """
    if samples < 1:
        raise ValueError("no samples: an empty evaluation set shows nothing")
    return float(-np.expm1(np.log1p(-confidence) / samples))


def samples_needed(loss: float, confidence: float) -> int:
    """Return how many samples can show, without a disagreement, that less than `loss` (in (0, 1)) is lost."""
    return int(np.ceil(np.log1p(-confidence) / np.log1p(-loss)))


@lru_cache(maxsize=4096)
def loss_bound(table: PairedTable, confidence: float) -> LossBound:
    """Return the upper confidence bound on the accuracy lost.

    Args:
        table: What was seen.
        confidence: One-sided, in (0, 1), e.g. 0.95.
    Returns:
        Bound in [-1, 1]; the true loss lies above it in at most 1 - confidence of all evaluation sets.
    """
    smallest = smallest_resolvable(table.samples, confidence)
    if table.samples > MOST_EXACT_SAMPLES:
        upper = _conservative(table, confidence)
        return LossBound(table.lost, upper, confidence, "two Clopper-Pearson bounds (conservative)", smallest)
    upper = _largest_not_refused(table, 1 - confidence)
    return LossBound(table.lost, upper, confidence, "exact unconditional, Tango's score", smallest)


def loss_p_value(table: PairedTable, loss: float) -> float:
    """Return the exact p-value of "at least `loss` is lost" against "less".

    Args:
        table: What was seen.
        loss: In (-1, 1).
    """
    variant_only = np.arange(table.samples + 1)
    most = _largest_extreme(table, loss, variant_only)
    low, high = max(0.0, -loss), (1 - loss) / 2
    grid = _grid(low, high, table.samples)
    sizes = _sizes(grid, loss, most, table.samples)
    top = int(np.argmax(sizes))
    fine = np.linspace(grid[max(top - 1, 0)], grid[min(top + 1, len(grid) - 1)], REFINING_POINTS)
    return min(1.0, float(max(sizes[top], _sizes(fine, loss, most, table.samples).max())))


def _grid(low: float, high: float, samples: int) -> Floats:
    """Return values of p01, dense at both ends, where single discordant or concordant samples make the region step."""
    steps = np.geomspace(1e-3 / samples, max(high - low, 2e-3 / samples), NUISANCE_POINTS)
    return np.unique(np.clip(np.concatenate([[low, high], low + steps, high - steps]), low, high))


def _conservative(table: PairedTable, confidence: float) -> float:
    """Bound p10 from above and p01 from below, each with half the error rate (Bonferroni)."""
    share = 1 - (1 - confidence) / 2
    most_lost, n = table.control_only, table.samples
    upper = 1.0 if most_lost == n else float(betaincinv(most_lost + 1, n - most_lost, share))
    won = table.variant_only
    lower = 0.0 if won == 0 else float(betaincinv(won, n - won + 1, 1 - share))
    return upper - lower


def _largest_not_refused(table: PairedTable, error: float) -> float:
    """Bisect for the loss at which the p-value falls to `error`; rounded up."""
    low, high = max(table.lost, -1 + RESOLUTION), 1.0
    while high - low > RESOLUTION:
        middle = (low + high) / 2
        if loss_p_value(table, middle) > error:
            low = middle
        else:
            high = middle
    return high


def _score(control_only: Floats, variant_only: Floats, samples: int, loss: float) -> Floats:
    """Return Tango's statistic of tables, all against the same `loss`; low values speak against it."""
    b = -control_only - variant_only + (2 * samples - control_only + variant_only) * loss
    c = -variant_only * loss * (1 - loss)
    p01 = (np.sqrt(np.maximum(b * b - 8 * samples * c, 0.0)) - b) / (4 * samples)
    variance = samples * np.maximum(2 * p01 + loss * (1 - loss), 0.0)
    gap = control_only - variant_only - samples * loss
    with np.errstate(divide="ignore", invalid="ignore"):
        score = gap / np.sqrt(variance)
    return np.where(np.abs(gap) < 1e-12, 0.0, score)


def _largest_extreme(table: PairedTable, loss: float, variant_only: NDArray[np.int_]) -> NDArray[np.int_]:
    """Return, per count of `variant_only`, the largest count of `control_only` as extreme as the table; -1: none.

    The statistic grows with `control_only` (Barnard's convexity): the region has one edge, which bisection finds.
    """
    seen = _score(np.array([float(table.control_only)]), np.array([float(table.variant_only)]), table.samples, loss)[0]
    inside = np.full(len(variant_only), -1)
    outside = table.samples - variant_only + 1
    while np.any(outside - inside > 1):
        middle = (inside + outside) // 2
        extreme = _score(middle.astype(float), variant_only.astype(float), table.samples, loss) <= seen + 1e-9
        open_ = outside - inside > 1
        inside = np.where(open_ & extreme, middle, inside)
        outside = np.where(open_ & ~extreme, middle, outside)
    return inside


def _sizes(p01: Floats, loss: float, most: NDArray[np.int_], samples: int) -> Floats:
    """Return the probability of the extreme region at each value of the nuisance parameter, shape (k,)."""
    counts = np.nonzero(most >= 0)[0]
    weights = _binomial(counts[None, :], samples, p01[:, None])
    rows, columns = np.nonzero(weights > NEGLIGIBLE)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(p01 < 1, np.clip((p01 + loss) / (1 - p01), 0.0, 1.0), 0.0)
    kept = counts[columns]
    below = bdtr(most[kept].astype(float), (samples - kept).astype(int), share[rows])
    sums: Floats = np.bincount(rows, weights[rows, columns] * below, minlength=len(p01)).astype(np.float64)
    return sums


def _binomial(counts: NDArray[np.int_], samples: int, p: Floats) -> Floats:
    log = gammaln(samples + 1) - gammaln(counts + 1) - gammaln(samples - counts + 1)
    found: Floats = np.exp(log + xlogy(counts, p) + xlog1py(samples - counts, -p))
    return found
