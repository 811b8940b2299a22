"""Whether a learned table may be used: its error on variants that it had not seen, beside that of the host's ratios.

Decides: the test (leave one graph out) and the verdict. Leaves out: the model (`fit.py`). Pure.

    check(points).trusted  # False: on those nine variants the host's ratios did better
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from controller.compress.search.table.fit import Trained, fit

FEWEST = 8
"""Different graphs below which nothing is said."""


@dataclass(frozen=True)
class Errors:
    """Of guesses against what was measured. median: absolute relative error, a ratio. rank: Spearman's correlation;
    null where all are equal."""

    median: float
    rank: float | None


@dataclass(frozen=True)
class Checked:
    """A table's test. graphs: different ones that were measured. table: null where there were too few. wins: graphs
    whose time the table guessed better than the host."""

    graphs: int
    host: Errors | None = None
    table: Errors | None = None
    wins: int = 0
    trusted: bool = False
    because: str = ""


def check(points: Sequence[Trained]) -> Checked:
    """Return how a table of these points does on graphs that were left out, against the host's ratios.

    It is trusted where its median error is smaller, its order no worse, and it comes nearer for more than half of the
    graphs. Variants of one graph are left out together: one of them would tell of the others.
    """
    groups = list(_by_graph(points).values())
    if len(groups) < FEWEST:
        return Checked(len(groups), because=f"{len(groups)} different graphs were measured, {FEWEST} are needed")
    true = [statistics.geometric_mean(each.measured_ms for each in group) for group in groups]
    host = [statistics.geometric_mean(each.host_ms for each in group) for group in groups]
    table = [_left_out(groups, place) for place in range(len(groups))]
    wins = sum(abs(a / t - 1) < abs(b / t - 1) for a, b, t in zip(table, host, true, strict=True))
    return _judged(errors_of(host, true), errors_of(table, true), wins, len(groups))


def errors_of(guessed: Sequence[float], true: Sequence[float]) -> Errors:
    """Return the errors of guesses."""
    wrong = [abs(a / b - 1) for a, b in zip(guessed, true, strict=True)]
    return Errors(statistics.median(wrong), rank_correlation(guessed, true))


def rank_correlation(one: Sequence[float], other: Sequence[float]) -> float | None:
    """Return Spearman's rank correlation, ties given their mean rank; None where one side is all alike."""
    from scipy.stats import rankdata

    a, b = rankdata(one), rankdata(other)
    if len(one) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return None
    return float(np.corrcoef(a, b)[0, 1])


def _judged(host: Errors, table: Errors, wins: int, graphs: int) -> Checked:
    smaller = table.median < host.median and 2 * wins > graphs
    ordered = (table.rank or 0.0) >= (host.rank or 0.0)
    trusted = smaller and ordered
    than = "better" if trusted else "no better"
    because = (
        f"on {graphs} graphs, each left out in turn, the table is {than} than this host's ratios: median error "
        f"{100 * table.median:.1f} % against {100 * host.median:.1f} %, rank correlation {_said(table.rank)} against "
        f"{_said(host.rank)}, nearer for {wins}"
    )
    return Checked(graphs, host, table, wins, trusted, because)


def _left_out(groups: Sequence[Sequence[Trained]], place: int) -> float:
    rest = [each for number, group in enumerate(groups) if number != place for each in group]
    table = fit(rest)
    return statistics.geometric_mean(
        max(table.milliseconds(each.features, each.host_ms), np.finfo(float).tiny) for each in groups[place]
    )


def _by_graph(points: Sequence[Trained]) -> dict[str, list[Trained]]:
    found: dict[str, list[Trained]] = {}
    for number, each in enumerate(points):
        found.setdefault(each.key or f"#{number}", []).append(each)
    return found


def _said(rank: float | None) -> str:
    return "unknown" if rank is None else f"{rank:.2f}"
