"""What rounds in lock-step say of one side against the other, from what both left in their records. Pure.

compare_rounds(round_log_ratios(theirs.replicates, ours.replicates))
"""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from agent.measure.lock_step.turns import LOCK_STEP
from agent.measure.record import counted
from wire.statistics import round_log_ratio
from wire.trial import Replicate, Samples

Part = Literal["total_ns", "pre_ns", "infer_ns", "post_ns"]
"""Which samples of a record: whole queries, or what one step of them took."""


def round_log_ratios(theirs: Sequence[Replicate], ours: Sequence[Replicate]) -> list[float]:
    """Return log(ours / theirs) of every round that both took with each other, in their order.

    Raises:
        ValueError: They have not as many blocks: these are no records of one round.
    """
    other = _rounds(theirs)
    both = [(other[key], one) for key, one in _rounds(ours).items() if key in other]
    return [round_log_ratio(block_medians(a), block_medians(b)) for a, b in both]


def block_medians(replicate: Replicate, part: Part = "total_ns") -> list[float]:
    """Return the median latency of each turn, or that of one part of it [ns]."""
    packed: Samples = getattr(replicate, part)
    samples, found, place = packed.unpack(), list[float](), 0
    for count in replicate.conditions[LOCK_STEP]["samples"]:
        found.append(float(statistics.median(samples[place : place + count])))
        place += count
    return found


def _rounds(replicates: Sequence[Replicate]) -> Mapping[tuple[str, int], Replicate]:
    said: list[tuple[Any, Replicate]] = [(one.conditions.get(LOCK_STEP), one) for one in counted(replicates)]
    return {(str(at["session"]), int(at["round"])): one for at, one in said if at is not None}
