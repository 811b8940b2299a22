"""From what an engine's profiler counted to the costs of operator types. Pure."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from agent.errors import EngineFailed
from wire.trial import OperatorCost

MOST_OPERATORS = 200
LONGEST_NAME = 128
"""Both as the wire has them; a model of more operator types than that has not been seen."""


@dataclass(frozen=True)
class Spent:
    """What calls of one operator type took, all queries together [us]."""

    operator: str
    calls: int
    total_us: float


def costs(spent: Iterable[Spent], queries: int) -> tuple[OperatorCost, ...]:
    """Return what each operator type costs per query, the dearest first; rows of one type are added up.

    Raises:
        EngineFailed: No operator was seen.
    """
    calls, total_us = defaultdict[str, int](int), defaultdict[str, float](float)
    for one in spent:
        calls[one.operator[:LONGEST_NAME]] += one.calls
        total_us[one.operator[:LONGEST_NAME]] += one.total_us
    if not calls:
        raise EngineFailed("the engine's profiler saw no operator")
    whole_us = sum(total_us.values()) or 1.0
    found = [
        OperatorCost(
            operator=name,
            calls=round(calls[name] / queries),
            total_ns=round(1000 * total_us[name] / queries, 1),
            share_ratio=min(1.0, total_us[name] / whole_us),
        )
        for name in calls
    ]
    return tuple(sorted(found, key=lambda cost: (-cost.total_ns, cost.operator))[:MOST_OPERATORS])
