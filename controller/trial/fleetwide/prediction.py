"""What a variant's latency will be on any device of its class, also on one that did not measure. Pure.

Decides: quantiles of the mixture over devices, processes and queries, with bounds. Leaves out: the variance model.

A query on a random device has log latency centre + device + process + what queries spread around their process's
median. The first three are normal; the last is taken as it was measured, since latency has tails that no normal has. A
bound comes from solving for each of the model's draws, with the measured spreads weighted anew for devices and, within
them, for processes (Bayesian bootstrap): tails that one device alone has widen it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp

import numpy as np
from scipy.special import ndtr, ndtri

from controller.choose.measured import Estimate
from controller.trial.fleetwide.components import DRAWS, SEED, Draws, Model
from controller.trial.fleetwide.observed import Cell, Floats
from controller.trial.fleetwide.thresholds import CONFIDENCE

BODY_NODES, TAIL_NODES, TAIL_FROM = 24, 40, 0.8
"""Values that stand for all measured spreads, closer from the 80th percentile on; each process weights them as often as
it had them."""
STEPS = 18
"""Halvings of the interval in which a quantile lies: 4e-6 of its width."""


@dataclass(frozen=True)
class Prediction:
    """Latency over the fleet [ns]; each bound holds with `CONFIDENCE` by itself.

    `p50_ns`, `p95_ns`: what half and 95 % of the queries on a random device stay under; p95 is None where samples are
    no single queries or are too few. `device_p50_ns`: what the median latency of 95 % of the devices stays under.
    """

    p50_ns: Estimate
    p95_ns: Estimate | None
    device_p50_ns: Estimate


def predict(model: Model, cells: Sequence[Cell], *, tails: bool) -> Prediction:
    """Return the prediction for one variant.

    Args:
        model: Of `fit`, over the same cells.
        cells: The variant on each device.
        tails: Whether p95 may be given.
    """
    nodes, weights = _nodes(cells)
    drawn_weights = _reweighted(cells, weights)
    point = Draws(np.array([model.centre]), np.array([model["device"].variance]), np.array([model["process"].variance]))
    point_weights = _equal(cells, weights)

    def over_fleet(fraction: float) -> Estimate:
        value = _quantiles(point, nodes, point_weights, fraction)
        return _estimate(float(value[0]), _quantiles(model.draws, nodes, drawn_weights, fraction))

    step = float(ndtri(0.95))
    device = model.centre + step * model["device"].spread
    drawn = model.draws.centre + step * np.sqrt(model.draws.device)
    return Prediction(over_fleet(0.50), over_fleet(0.95) if tails else None, _estimate(device, drawn))


def _estimate(value: float, draws: Floats) -> Estimate:
    lower, upper = np.quantile(draws, [1 - CONFIDENCE, CONFIDENCE])
    return Estimate(exp(value), exp(min(float(lower), value)), exp(min(max(float(upper), value), 600.0)))


def _nodes(cells: Sequence[Cell]) -> tuple[Floats, Floats]:
    """Return values (k,) of the pooled spread, and how each process weights them (processes, k)."""
    spreads = np.array([process.spread for cell in cells for process in cell.processes])
    pooled = np.sort(spreads, axis=None)
    body = np.arange(BODY_NODES) * TAIL_FROM / BODY_NODES
    tail = TAIL_FROM + np.arange(TAIL_NODES) * (1 - TAIL_FROM) / TAIL_NODES
    starts = np.unique((np.concatenate([body, tail]) * len(pooled)).astype(np.int64))
    values = np.array([part.mean() for part in np.split(pooled, starts[1:])])
    places = np.searchsorted(pooled[starts[1:]], spreads, side="right")
    weights = np.array([np.bincount(row, minlength=len(values)) for row in places]) / spreads.shape[1]
    return values, weights


def _equal(cells: Sequence[Cell], weights: Floats) -> Floats:
    shares = np.concatenate([np.full(len(cell.processes), 1 / len(cell.processes)) for cell in cells])
    mixed: Floats = (shares / len(cells)) @ weights
    return mixed[None, :]


def _reweighted(cells: Sequence[Cell], weights: Floats) -> Floats:
    chance = np.random.default_rng(SEED + 1)
    columns = []
    for cell in cells:
        inner = chance.standard_exponential((DRAWS, len(cell.processes)))
        outer = chance.standard_exponential((DRAWS, 1))
        columns.append(outer * inner / inner.sum(axis=1, keepdims=True))
    shares = np.concatenate(columns, axis=1)
    mixed: Floats = (shares / shares.sum(axis=1, keepdims=True)) @ weights
    return mixed


def _quantiles(draws: Draws, nodes: Floats, weights: Floats, fraction: float) -> Floats:
    """Return where the mixture of normals around `nodes` reaches `fraction`, by halving; shape of the draws."""
    spread = np.sqrt(draws.device + draws.process)[:, None] + 1e-9
    below = draws.centre + nodes[0] - 8 * spread[:, 0]
    above = draws.centre + nodes[-1] + 8 * spread[:, 0]
    for _ in range(STEPS):
        middle = (below + above) / 2
        below_here: Floats = ndtr(((middle - draws.centre)[:, None] - nodes) / spread)
        reached = (weights * below_here).sum(axis=1) >= fraction
        below, above = np.where(reached, below, middle), np.where(reached, middle, above)
    found: Floats = (below + above) / 2
    return found
