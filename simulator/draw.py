"""Virtual numbers: what a simulated device is like, how long its queries take, what fails. Seeded, so repeatable.

Decides: the distributions. Leaves out: when they are asked for. Every draw has a seed of its own, made of the run's
seed and of what is drawn, so that no number depends on the order of events or on how devices are spread over processes.
Pure: no clock, and no randomness but the seeds'.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from simulator.classes import LatencyModel

MIB = 1024 * 1024
SLOW_TIMES = 4.0
"""How much slower a slow device is, at everything."""
FAILING_RATIO = 0.75
"""Of the bundles that a failing device is offered, it fails at so many."""
BUNDLE_SPREAD = 0.25
"""Between bundles of one size, of the logarithm."""


@dataclass(frozen=True)
class Shares:
    """Shares of the devices [0 to 1] that misbehave, each drawn by itself."""

    slow: float = 0.0
    failing: float = 0.0
    vanishing: float = 0.0
    flapping: float = 0.0


@dataclass(frozen=True, slots=True)
class Traits:
    """What one device is like: `pace` is its time over the class's, `phase` [0, 1) when in an interval it speaks."""

    pace: float
    phase: float
    slow: bool = False
    failing: bool = False
    vanishing: bool = False
    flapping: bool = False


def traits_of(seed: int, device: str, latency: LatencyModel, shares: Shares) -> Traits:
    """Return what a device is like; the same for every run with this seed."""
    chance = Random(f"{seed}/{device}")
    pace, phase = math.exp(chance.gauss(0.0, latency.device_ratio)), chance.random()
    slow, failing, vanishing, flapping = (
        chance.random() < share for share in (shares.slow, shares.failing, shares.vanishing, shares.flapping)
    )
    return Traits(pace * (SLOW_TIMES if slow else 1.0), phase, slow, failing, vanishing, flapping)


def bundle_median_ms(seed: int, latency: LatencyModel, digest: str, size_bytes: int) -> float:
    """Return a bundle's median latency in a class, before any device's own pace [ms]."""
    chance = Random(f"{seed}/{digest}")
    return latency.median_ms * math.pow(size_bytes / MIB, 0.25) * math.exp(chance.gauss(0.0, BUNDLE_SPREAD))


def process_median_ms(chance: Random, latency: LatencyModel, median_ms: float) -> float:
    """Return the median of one process [ms]."""
    return median_ms * math.exp(chance.gauss(0.0, latency.process_ratio))


def query_ms(chance: Random, latency: LatencyModel, median_ms: float) -> float:
    """Return the latency of one query of a process whose median is `median_ms` [ms]."""
    tail = latency.tail_times if chance.random() < latency.tail_ratio else 1.0
    return median_ms * tail * math.exp(chance.gauss(0.0, latency.query_ratio))


def failure_of(seed: int, device: str, digest: str) -> str | None:
    """Return how a failing device fails at a bundle: `selftest`, `probation` or `errors`; null: it does not."""
    chance = Random(f"{seed}/{device}/{digest}/failure")
    return chance.choice(("selftest", "probation", "errors")) if chance.random() < FAILING_RATIO else None


def answers(seed: int, evaluation: str, bundle: str, samples: int, classes: int) -> list[int]:
    """Return drawn answers of a classifier: nobody infers anything here, so they are right as often as chance is.

    All bundles answer alike but for one sample in two hundred, so that they differ as variants do.
    """
    same, own = Random(f"{seed}/{evaluation}"), Random(f"{seed}/{evaluation}/{bundle}")
    shared = [same.randrange(classes) for _ in range(samples)]
    return [own.randrange(classes) if own.random() < 0.005 else answer for answer in shared]


def shares_of(chance: Random, names: Sequence[str], total: int) -> dict[str, int]:
    """Return `total` answers over at most eight of `names`, the first of a shuffled order the most often."""
    chosen = chance.sample(list(names), min(8, len(names)))
    counts: dict[str, int] = {}
    for place, name in enumerate(chosen):
        share = total if place == len(chosen) - 1 else total // 2
        counts, total = {**counts, name: share} if share else counts, total - share
    return counts
