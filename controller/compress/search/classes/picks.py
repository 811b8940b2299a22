"""What a search has found for each class of devices: by what its devices measured, and by nothing else. Pure.

Decides: which row a class would take, and that the baseline stays where nothing that keeps the limit is faster. Leaves
out: the rules of a front (`front.py`), and rolling out, which a deploy does.

    pick_of(rows, "pi-5").variant  # the fastest there that keeps the limit; of those nearly as fast, the smallest
"""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import replace

from controller.compress.search.front import best_of, front_of
from controller.compress.search.study import Row


def seen_by(rows: Sequence[Row], name: str) -> list[Row]:
    """Return the rows that a class measured, their time being the one that they took there."""
    times = [(row, row.classes.get(name)) for row in rows]
    return [
        replace(row, ratio=time.ratio)
        for row, time in times
        if time is not None and time.by == "measured" and time.ratio is not None
    ]


def pick_of(rows: Sequence[Row], name: str) -> Row | None:
    """Return what a class would take; None: its control stays."""
    best = best_of(seen_by(rows, name))
    return best if best is not None and (best.ratio or 1.0) < 1.0 else None


def fronts_of(rows: Sequence[Row], classes: Sequence[str]) -> list[Row]:
    """Return the picks of all classes, then the members of their fronts, each once, as they stand in `rows`."""
    picks = [pick for name in classes if (pick := pick_of(rows, name)) is not None]
    fronts = [row for name in classes for row in front_of(seen_by(rows, name))]
    known = {row.variant: row for row in rows}
    return [known[name] for name in dict.fromkeys(row.variant for row in (*picks, *fronts))]


def best_for(classes: Sequence[str]) -> Callable[[Sequence[Row]], Row | None]:
    """Return what finds the row that is best over all classes together: geometric mean of the times that are known."""

    def best(rows: Sequence[Row]) -> Row | None:
        found = best_of([replace(row, ratio=_mean(row, classes)) for row in rows])
        return None if found is None else next(row for row in rows if row.variant == found.variant)

    return best


def _mean(row: Row, classes: Sequence[str]) -> float:
    known = [row.classes[name].ratio for name in classes if name in row.classes]
    return statistics.geometric_mean([each or 1.0 for each in known]) if known else 1.0
