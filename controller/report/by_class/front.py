"""The front that the figure draws: which measured variants are best at something. Pure.

Decides: accuracy (or R2) against median latency against download, whatever the class's goals ask for. Leaves out: the
choice, which follows the goals' own criteria (`controller/choose`).
"""

from collections.abc import Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]


def accuracy_latency_size_front(rows: Sequence[Row]) -> list[str]:
    """Return the variants that no other one dominates, fastest first.

    One dominates another where it is at least as good in score, p50 and download, and better in one of them.

    Args:
        rows: The `measured` of a choice. What is void or unfit, or lacks one of the three, is not on the front.
    """
    usable = [row for row in rows if row.get("excluded") is None and None not in _costs(row)]
    on_front = [row for row in usable if not any(_dominates(_costs(other), _costs(row)) for other in usable)]
    return [str(row["variant"]) for row in sorted(on_front, key=lambda row: (row["p50_ms"], row["variant"]))]


def _costs(row: Row) -> tuple[Any, ...]:
    """Return what is to be small: the score negated, p50 [ms], download [bytes]; None for what is missing."""
    score = row.get("score")
    return (None if score is None else -score, row.get("p50_ms"), row.get("wire_bytes"))


def _dominates(costs: tuple[Any, ...], others: tuple[Any, ...]) -> bool:
    return costs != others and all(one <= other for one, other in zip(costs, others, strict=True))
