"""What one fresh process says: its median, how much its blocks differ, and how its queries spread. Pure; numpy.

Decides: how the samples of a process are split into slow time and single queries. Leaves out: devices (`components`).

All on the logarithm of latency: devices, processes and time act as factors.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

BLOCKS = 10
BLOCK_SAMPLES = 5
"""At most ten blocks a process, of at least five samples: the median of fewer is hardly one."""
SPREAD_POINTS = 200
"""Points at equal probability that stand for a process's distribution: the mixture's p95 and p99 need no more."""


@dataclass(frozen=True, eq=False)
class Process:
    """One fresh process on the log scale; latency was in ns.

    `blocks`: log median of consecutive blocks less their mean, shape (b,); empty where there are too few samples.
    `block_error`: variance of a block's median that its own queries explain. `query`: variance of queries within
    blocks. `spread`: log latency less the process's log median at SPREAD_POINTS equal shares. `queries`: their number.
    """

    log_median: float
    blocks: Floats
    block_error: float
    query: float
    spread: Floats
    queries: int


@dataclass(frozen=True, eq=False)
class Cell:
    """One variant on one device. `single`: samples are single queries, not means of several calls."""

    device: str
    variant: str
    control: bool
    processes: tuple[Process, ...]
    single: bool = True

    @property
    def mean(self) -> float:
        """Mean of the processes' log medians."""
        return float(np.mean([each.log_median for each in self.processes]))


def observe(samples_ns: Sequence[int] | NDArray[np.int64]) -> Process:
    """Return what one process's samples say.

    Args:
        samples_ns: Latency per query in the order measured [ns], shape (n,), n >= 1, warm-up removed.
    Raises:
        ValueError: No samples.
    """
    logs = np.log(np.maximum(np.asarray(samples_ns, np.float64), 1.0))
    if not len(logs):
        raise ValueError("a process without samples says nothing")
    middle = float(np.median(logs))
    return Process(middle, *_blocks(logs), _spread(logs - middle), len(logs))


def _blocks(logs: Floats) -> tuple[Floats, float, float]:
    """Return block medians less their mean, the variance that queries lend to each, and the queries' own variance.

    What does not fill the blocks evenly is left out at the start. A block's even and odd queries share its place in
    time and nothing else: the medians of the halves differ with four times the variance of the whole's median. What
    neighbours share counts as time.
    """
    count = min(BLOCKS, len(logs) // BLOCK_SAMPLES)
    if count < 2:
        return np.empty(0), 0.0, float(logs.var(ddof=1)) if len(logs) > 1 else 0.0
    parts = logs[len(logs) % count :].reshape(count, -1)
    medians = np.median(parts, axis=1)
    halves = np.median(parts[:, ::2], axis=1) - np.median(parts[:, 1::2], axis=1)
    query = float(parts.var(axis=1, ddof=1).mean())
    return medians - medians.mean(), float(np.mean(halves**2)) / 4, query


def _spread(residuals: Floats) -> Floats:
    ranks = ((np.arange(SPREAD_POINTS) + 0.5) / SPREAD_POINTS * len(residuals)).astype(np.int64)
    return np.sort(residuals)[ranks]
