"""A process that takes turns: what of a turn counts, and when it has enough. With a sampler that has its own clock."""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from agent.measure.orders import LockStep
from agent.measure.protocol import GRADES
from agent.measure.scenarios.loop import Timings
from agent.measure.scenarios.turns import BLOCK_S, REWARM_S, Turns, come_to_rest, run_in_turns

RULE = replace(
    GRADES["quick"],
    warm_up_runs=3,
    warm_up_s=0.0,
    window_runs=3,
    window_s=0.0,
    timed_runs=8,
    timed_s=0.05,
    timed_cap_s=0.2,
)


class Counted:
    """Queries that say how long they took: their number, from 1, on top of a fixed time [ns]."""

    queries_per_call = 1

    def __init__(self, each_ns: int) -> None:
        self.each_ns, self.queries = each_ns, 0

    def sample(self, timings: Timings, calls: int) -> int:
        self.queries += calls
        for kept in (timings.total, timings.pre, timings.infer, timings.post, timings.cpu):
            kept.append(self.each_ns)
        return self.each_ns * calls


def told(each_ns: int, words: Sequence[str]) -> tuple[Any, list[tuple[str, dict[str, Any]]], Counted]:
    """Return the course, what the process said, and its sampler."""
    left, said, sampler = list(words), list[tuple[str, dict[str, Any]]](), Counted(each_ns)

    def hear() -> str:
        said.append(("waits", {"queries": sampler.queries}))
        return left.pop(0) if left else ""

    turns = Turns(LockStep(session="s", round=2), lambda event, **fields: said.append((event, fields)), hear)
    return run_in_turns(sampler, RULE, turns), said, sampler


def test_a_turn_is_a_block_whose_first_queries_do_not_count() -> None:
    each_ns = 2_000_000
    course, said, sampler = told(each_ns, ["go", "go", "end"])
    taken = course.readings["lock_step"]
    rewarmed = -(-int(REWARM_S * 1e9) // each_ns)
    block = -(-int(BLOCK_S * 1e9) // each_ns)
    assert taken["samples"] == [block, block]
    assert taken["rewarm_ns"] == [rewarmed * each_ns] * 2
    assert len(course.timed.total) == 2 * block
    assert sampler.queries == len(course.warm_up.total) + 2 * (rewarmed + block)
    assert (taken["session"], taken["round"], len(taken["begin_us"])) == ("s", 2, 2)
    assert [event for event, _ in said] == ["ready", "waits", "turn_over", "waits", "turn_over", "waits"]


def test_nothing_is_computed_before_the_first_word() -> None:
    course, said, _ = told(2_000_000, ["go", "end"])
    assert said[:2] == [("ready", {}), ("waits", {"queries": len(course.warm_up.total)})]


def test_a_query_longer_than_a_block_is_a_turn_by_itself() -> None:
    course, _, _ = told(100_000_000, ["go", "go", "end"])
    assert course.readings["lock_step"]["samples"] == [1, 1]
    assert course.readings["lock_step"]["rewarm_ns"] == [100_000_000] * 2


def test_short_queries_are_timed_several_at_a_time() -> None:
    course, _, _ = told(100_000, ["go", "end"])
    assert course.calls == 10
    assert course.queries == 10 * len(course.timed.total)


def test_enough_is_runs_and_seconds_and_full_is_the_cap() -> None:
    _, said, _ = told(2_000_000, ["go"] * 8)
    fields = [fields for event, fields in said if event == "turn_over"]
    block_s = -(-int(BLOCK_S * 1e9) // 2_000_000) * 0.002
    assert [each["enough"] for each in fields] == [turns * block_s >= RULE.timed_s for turns in range(1, 9)]
    assert [each["full"] for each in fields] == [turns * block_s >= RULE.timed_cap_s for turns in range(1, 9)]
    assert {each["full"] for each in fields} == {True, False}


def test_an_end_of_the_words_is_an_end() -> None:
    course, _, _ = told(2_000_000, ["go"])
    assert len(course.readings["lock_step"]["samples"]) == 1


@pytest.mark.parametrize(("used_ns", "looks"), [([0, 900_000, 900_000, 900_000], 2), ([0, 50_000], 1)])
def test_a_turn_is_handed_over_once_no_thread_computes(
    monkeypatch: pytest.MonkeyPatch, used_ns: list[int], looks: int
) -> None:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    monkeypatch.setattr(time, "process_time_ns", lambda: used_ns.pop(0))
    come_to_rest()
    assert len(slept) == looks
