"""Who found faster variants: paired over seeds, class by class. Pure.

Decides: the statistics. A seed's difference is the logarithm of the devices' pick's time over the host's pick's, both
in the same sittings; its mean over seeds has Student's interval. Where that holds 0 no difference was seen, and its
half-width is the smallest that could have been.

    verdict("emulated-dual", [-0.1, -0.12, -0.08, -0.11, -0.1]).says  # "devices"
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, inf, sqrt
from typing import Literal

from wire.statistics import student_quantile

FEWEST = 5
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Verdict:
    """Of one class. ratio: the devices' picks' time over the host's, geometric mean over seeds, with bounds. smallest:
    difference that so many seeds could have shown, a ratio; infinite where there were too few."""

    name: str
    seeds: int
    says: Literal["devices", "host", "no difference seen", "too few seeds"]
    ratio: float | None
    lower: float = 0.0
    upper: float = inf
    smallest: float = inf

    def __str__(self) -> str:
        if self.ratio is None:
            return f"{self.name}: nothing was compared"
        found = (
            f"{self.ratio:.3f} [{self.lower:.3f}, {self.upper:.3f}] of the host's picks' time over {self.seeds} seeds"
        )
        if self.says in ("devices", "host"):
            return f"{self.name}: {self.says}: {found}"
        seen = "" if self.smallest == inf else f"; {100 * self.smallest:.1f} % could have been seen"
        return f"{self.name}: {self.says}: {found}{seen}"


def verdict(name: str, log_ratios: Sequence[float | None]) -> Verdict:
    """Return what the seeds say of a class. None: a seed whose sittings were void, which is left out."""
    known = [each for each in log_ratios if each is not None]
    if not known:
        return Verdict(name, 0, "too few seeds", None)
    mean = statistics.fmean(known)
    if len(known) < 2:
        return Verdict(name, len(known), "too few seeds", exp(mean))
    half = student_quantile((1 + CONFIDENCE) / 2, len(known) - 1) * statistics.stdev(known) / sqrt(len(known))
    says: Literal["devices", "host", "no difference seen", "too few seeds"] = "no difference seen"
    if len(known) < FEWEST:
        says = "too few seeds"
    elif mean + half < 0:
        says = "devices"
    elif mean - half > 0:
        says = "host"
    return Verdict(name, len(known), says, exp(mean), exp(mean - half), exp(mean + half), exp(half) - 1)
