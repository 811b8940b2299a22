"""From two records' samples to the ratio of each round."""

import math
from collections.abc import Sequence

import pytest

from agent.measure.lock_step.ratios import block_medians, round_log_ratios
from agent.measure.record import REPLACED
from wire.trial import Replicate, Samples


def replicate(
    blocks: Sequence[Sequence[int]], number: int = 0, session: str = "s", flags: Sequence[str] = ()
) -> Replicate:
    packed = Samples.pack([value for block in blocks for value in block])
    parts = dict.fromkeys(("total_ns", "pre_ns", "infer_ns", "post_ns", "warm_up_ns"), packed)
    told = {"session": session, "round": number, "samples": [len(block) for block in blocks]}
    fields = {**parts, "order": 0, "conditions": {"lock_step": told}, "flags": tuple(flags)}
    return Replicate.model_validate(fields)


def test_samples_are_told_apart_by_turns() -> None:
    assert block_medians(replicate([[1, 2, 30], [4], [5, 7]])) == [2.0, 4.0, 6.0]


def test_what_wanders_in_both_alike_is_in_no_ratio() -> None:
    wander = [100, 210, 470, 95, 300, 120]
    theirs = [replicate([[value] * 3 for value in wander], number) for number in range(3)]
    ours = [replicate([[value * 21 // 20] * 3 for value in wander], number) for number in range(3)]
    assert round_log_ratios(theirs, ours) == pytest.approx([math.log(1.05)] * 3, abs=0.01)
    assert round_log_ratios(ours, theirs) == pytest.approx([-math.log(1.05)] * 3, abs=0.01)


def test_only_rounds_that_both_took_with_each_other_are_compared() -> None:
    ones = [[100], [100]]
    theirs = [replicate(ones, 0), replicate(ones, 1, flags=[REPLACED]), replicate(ones, 2), replicate(ones, 3)]
    ours = [replicate([[200], [200]], 3), replicate([[300], [300]], 0), replicate(ones, 1)]
    assert round_log_ratios(theirs, ours) == pytest.approx([math.log(2), math.log(3)])
    assert round_log_ratios([replicate(ones, session="other")], ours) == []
    plain = replicate(ones).model_copy(update={"conditions": {}})
    assert round_log_ratios([plain], [plain]) == []


def test_rounds_of_unequal_length_are_none() -> None:
    with pytest.raises(ValueError, match="blocks in pairs"):
        round_log_ratios([replicate([[1], [1]])], [replicate([[1]])])
