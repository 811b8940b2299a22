"""Learn what each operator costs a class: non-negative least squares on relative errors, near to what the host says.

Decides: the model. A file's time is the host's own guess of it, times a factor, and so much for each million of
multiply-accumulates, each million of elements, each operator of a kind, each query. No cost is below zero. Where
trials say little, the factor stays near 1 and the costs near 0: what is not known yet is left to the host. Leaves out:
whether the result may be used (`checked.py`).

    table = fit([Trained({"query": 1.0, "macs.conv.float32": 2.0}, host_ms=1.0, measured_ms=2.4), ...])
    table.milliseconds(features, host_ms=0.8)

Source: Lawson and Hanson, *Solving Least Squares Problems* (1974), chapter 23; the form follows latency tables of
hardware-aware architecture search, Cai et al., *ProxylessNAS*, ICLR 2019.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from controller.compress.search.table.features import Features

PULL = 0.05
"""Weight of staying near the host's guess, against one trial whose relative error counts 1."""

HOST = "host"


@dataclass(frozen=True)
class Trained:
    """One variant that a class measured. host_ms: what the host's ratio made of the control's time. key: equal for
    files that engines run as the same graph. control_ms: of the control beside it."""

    features: Features
    host_ms: float
    measured_ms: float
    key: str = ""
    control_ms: float | None = None


@dataclass(frozen=True)
class Table:
    """What a class's operators cost. names: features, the host's guess first; costs: [ms] for each unit of them."""

    names: tuple[str, ...]
    costs: tuple[float, ...]

    def milliseconds(self, features: Features, host_ms: float) -> float:
        """Return the median query of a file [ms]. What no trial had is left to the host's guess."""
        values = {**features, HOST: host_ms}
        return sum(values.get(name, 0.0) * cost for name, cost in zip(self.names, self.costs, strict=True))


def fit(points: Sequence[Trained]) -> Table:
    """Return the table of a class.

    Args:
        points: At least one; times above 0.
    """
    from scipy.optimize import nnls

    names = (HOST, *sorted({name for each in points for name in each.features}))
    rows = np.array([_row(each, names) for each in points])
    scale = np.maximum(np.abs(rows).mean(axis=0), np.finfo(float).tiny)
    # Each measured time is 1, so that errors are relative; the pull is one row a cost, in the same unit.
    wanted = np.zeros(len(names))
    wanted[0] = scale[0]
    pull = np.sqrt(PULL)
    left = np.vstack([rows / scale, pull * np.eye(len(names))])
    right = np.concatenate([np.ones(len(points)), pull * wanted])
    costs, _ = nnls(left, right)
    return Table(names, tuple(float(each) for each in costs / scale))


def _row(each: Trained, names: Sequence[str]) -> NDArray[np.float64]:
    values = {**each.features, HOST: each.host_ms}
    return np.array([values.get(name, 0.0) for name in names]) / each.measured_ms
