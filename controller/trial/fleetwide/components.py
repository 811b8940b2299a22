"""Variance of log latency, separated: devices, processes within them, time within processes, single queries. Pure.

Decides: the model and its estimates, with bounds. Leaves out: what follows for the fleet (`prediction`).

Model of one variant in one class: log latency = centre + device + process + time + query, each normal but the last two,
independent of each other. Processes are nested in devices, numbers may differ:

- Estimates equate mean squares with their expectations (method of moments): pooled variance of processes within
  devices, and variance of unweighted device means less a harmonic mean's share of it. One that comes out negative is
  taken as 0 and marked `truncated`.
- Time is the variance between consecutive blocks of a process, less what the blocks' own queries lend to it. Blocks
  follow each other: their correlation at lag 1 is estimated over all processes (with Kendall's correction for short
  series) and carried as an autoregression, so that the error of a process's median is not made too small and the rest
  is not blamed on processes. A drift slower than the timed loop looks like a process and is counted there.
- Bounds come from generalised pivotal quantities: each mean square is drawn from its own chi-squared, with a fixed
  seed, and the equations are solved for each draw.

Source: Searle, Casella and McCulloch, Variance Components (1992), chapters 3 and 4; Thomas and Hultquist, Annals of
Statistics 6 (1978) 582-587; Krishnamoorthy and Mathew, Technometrics 46 (2004) 44-52; Kendall, Biometrika 41 (1954)
403-404.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Literal

import numpy as np

from controller.trial.fleetwide.observed import Cell, Floats, Process
from controller.trial.fleetwide.thresholds import CONFIDENCE

DRAWS = 600
SEED = 20240229
"""Any fixed number: the same records give the same report."""
LARGEST_CORRELATION = 0.9

ComponentName = Literal["device", "process", "time", "query"]


@dataclass(frozen=True)
class Component:
    """One source of variance [log²]; each bound holds with `CONFIDENCE` by itself."""

    name: ComponentName
    variance: float
    lower: float
    upper: float
    truncated: bool = False

    @property
    def spread(self) -> float:
        """Standard deviation of the factor, about: 0.05 is 5 %."""
        return sqrt(self.variance)


@dataclass(frozen=True, eq=False)
class Draws:
    """Parameters that the data could come from, each of shape (DRAWS,): for bounds on whatever follows from them."""

    centre: Floats
    device: Floats
    process: Floats


@dataclass(frozen=True, eq=False)
class Model:
    """One variant over the devices of a class. `correlation`: of neighbouring blocks in time.

    `process_apart`: whether some device measured in more than one process, so that its processes can be told from it;
    else both are in `device`.
    """

    centre: float
    components: tuple[Component, ...]
    correlation: float
    process_apart: bool
    median_error: dict[str, float]
    """Device -> variance of its mean log median that processes explain."""
    draws: Draws

    def __getitem__(self, name: ComponentName) -> Component:
        return next(each for each in self.components if each.name == name)


def fit(cells: Sequence[Cell]) -> Model:
    """Return the model of one variant.

    Args:
        cells: The variant on each device of the class, at least two devices, each with at least one process.
    Raises:
        ValueError: Fewer than two devices.
    """
    if len(cells) < 2:
        raise ValueError("devices are told from chance only with two or more of them")
    chance = np.random.default_rng(SEED)
    processes = [process for cell in cells for process in cell.processes]
    correlation, time, median_error = _time(processes)
    found = _squares(cells)
    draws = _draws(found, median_error, chance)
    apart = found.freedom > 0
    components = (
        _component("device", found.between - found.within / found.harmonic, draws.device),
        _component("process", found.within - median_error if apart else 0.0, draws.process),
        _resampled("time", time, chance),
        _resampled("query", np.array([each.query for each in processes]), chance),
    )
    errors = {cell.device: found.within / len(cell.processes) for cell in cells}
    return Model(float(found.means.mean()), components, correlation, apart, errors, draws)


@dataclass(frozen=True, eq=False)
class Squares:
    """Mean squares of the table: `within` devices with `freedom`, `between` their unweighted `means`.

    `harmonic`: processes a device, the harmonic mean.
    """

    means: Floats
    between: float
    within: float
    freedom: int
    harmonic: float


def _squares(cells: Sequence[Cell]) -> Squares:
    counts = np.array([len(cell.processes) for cell in cells])
    freedom = int(counts.sum() - len(cells))
    logs = [np.array([process.log_median for process in cell.processes]) for cell in cells]
    within = sum(float(((each - each.mean()) ** 2).sum()) for each in logs) / max(freedom, 1)
    means = np.array([each.mean() for each in logs])
    return Squares(means, float(means.var(ddof=1)), within, freedom, float(len(cells) / np.sum(1 / counts)))


def _draws(found: Squares, median_error: float, chance: np.random.Generator) -> Draws:
    count = len(found.means)
    spread = found.between * (count - 1) / chance.chisquare(count - 1, DRAWS)
    centre = found.means.mean() - chance.standard_normal(DRAWS) * np.sqrt(spread / count)
    drawn = chance.chisquare(found.freedom, DRAWS) if found.freedom else np.ones(DRAWS)
    inner = found.within * found.freedom / drawn
    device = np.maximum(spread - inner / found.harmonic, 0.0)
    return Draws(centre, device, np.maximum(inner - median_error, 0.0))


def _time(processes: Sequence[Process]) -> tuple[float, Floats, float]:
    """Return the blocks' correlation, each process's variance in time, and the variance of a process's median.

    With variance v and correlation r of neighbours, the mean of b blocks has variance v f / b, and their squares sum
    to v (b - f), where f = 1 + 2 sum_k (1 - k/b) r^k.
    """
    with_blocks = [each for each in processes if len(each.blocks) > 1]
    if not with_blocks:
        return 0.0, np.zeros(1), 0.0
    correlation = _correlation(with_blocks)
    inflations = np.array([_inflation(len(each.blocks), correlation) for each in with_blocks])
    counts = np.array([len(each.blocks) for each in with_blocks])
    variances = np.array([float((each.blocks**2).sum()) for each in with_blocks]) / (counts - inflations)
    apart = variances - np.array([each.block_error for each in with_blocks])
    return correlation, apart, float(np.mean(variances * inflations / counts))


def _correlation(processes: Sequence[Process]) -> float:
    products = sum(float((each.blocks[1:] * each.blocks[:-1]).sum()) for each in processes)
    squares = sum(float((each.blocks**2).sum()) for each in processes)
    count = float(np.mean([len(each.blocks) for each in processes]))
    if squares <= 0 or count <= 4:
        return 0.0
    corrected = (products / squares * count / (count - 1) + 1 / count) / (1 - 3 / count)
    return min(max(corrected, 0.0), LARGEST_CORRELATION)


def _inflation(count: int, correlation: float) -> float:
    lags = np.arange(1, count)
    return min(1 + 2 * float(((1 - lags / count) * correlation**lags).sum()), count - 0.5)


def _component(name: ComponentName, estimate: float, draws: Floats) -> Component:
    lower, upper = np.quantile(draws, [1 - CONFIDENCE, CONFIDENCE])
    value = max(estimate, 0.0)
    return Component(name, value, min(float(lower), value), max(float(upper), value), truncated=estimate < 0)


def _resampled(name: ComponentName, each: Floats, chance: np.random.Generator) -> Component:
    """Return the mean over processes with bounds by the Bayesian bootstrap: tails and correlation as they are."""
    weights = chance.standard_exponential((DRAWS, len(each)))
    return _component(name, float(each.mean()), np.maximum(weights @ each / weights.sum(axis=1), 0.0))
