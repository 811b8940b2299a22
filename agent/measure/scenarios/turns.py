"""Single queries in turns with another process: a short block, then a wait in which this process sleeps.

Decides: how long a turn is, what of it counts, and when this side has enough. Leaves out: whose turn it is
(`agent/measure/lock_step`).

A turn begins with queries that do not count: the other process has just used the caches, and whatever it left of the
clock's state. They are kept as what was spent on them, like a warm-up; each turn has them, also where the same side
goes twice, so that no block is better prepared than another.
"""

import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from agent.measure import protocol
from agent.measure.lock_step.turns import GO, LOCK_STEP, READY, TURN_OVER
from agent.measure.orders import LockStep
from agent.measure.protocol import GradeRule
from agent.measure.scenarios.blocks import Blocks
from agent.measure.scenarios.loop import Amount, Course, Sampler, Timings, collect, warm_up

BLOCK_S = 0.025
"""The timed part of a turn, one query at least. What wanders over a second leaves a ratio whose error grows with the
length of a block (simulated in `tests/unit/wire/test_lock_step_simulated.py`): 0.1 s would need a process of 16 times
the length. A block still has some ten queries of 2 ms."""

REWARM_S = 0.003
"""What comes before it, one query at least: a second-level cache of 2 MiB is filled in 0.2 ms at 10 GB/s, a last-level
cache's share of 20 MiB in 2 ms."""

REST_LOOK_S = 0.001
REST_RATIO = 0.1
MOST_REST_LOOKS = 50
"""Threads of an engine that spin for work after an inference do so for some milliseconds. The turn is handed over once
this process used less than a tenth of a look's time."""


@dataclass(frozen=True)
class Turns:
    """How this process hears of its turns, and says that one is over."""

    order: LockStep
    say: Callable[..., None]
    hear: Callable[[], str] = field(default=lambda: sys.stdin.readline().strip())
    """Returns the next word, blocked until there is one; empty where nobody will say one any more."""


@dataclass
class Taken:
    """What the turns so far left."""

    timed: Timings = field(default_factory=Timings)
    samples: list[int] = field(default_factory=list)
    rewarm_ns: list[int] = field(default_factory=list)
    begin_us: list[int] = field(default_factory=list)
    timed_s: float = 0.0


def run_in_turns(sampler: Sampler, rule: GradeRule, turns: Turns, threads: int = 1) -> Course:
    """Warm up, say so, then take a turn whenever told to, until told that it is over.

    Args:
        sampler: What is timed.
        rule: The grade's amounts; they are this side's own, waiting not counted.
        turns: How it hears.
        threads: The engine's.
    """
    began = time.monotonic_ns()
    warm, stable = warm_up(sampler, rule)
    calls = protocol.calls_per_sample(statistics.median(warm.total[-rule.window_runs :]))
    taken, blocks, begin = Taken(), Blocks(rule), time.monotonic_ns()
    turns.say(READY)
    while turns.hear() == GO:
        _take(sampler, taken, calls, begin)
        if taken.timed_s * 1e9 >= blocks.due_ns:
            blocks.cut(int(taken.timed_s * 1e9), len(taken.timed.total))
        if threads > 1:
            come_to_rest()
        turns.say(TURN_OVER, enough=_has_enough(taken, rule), full=_is_full(taken, rule))
    return Course(
        warm_up=warm,
        timed=taken.timed,
        stable=stable,
        calls=calls,
        queries=len(taken.timed.total) * calls * sampler.queries_per_call,
        warm_up_s=(begin - began) / 1e9,
        timed_s=taken.timed_s,
        between_ns=(begin, time.monotonic_ns()),
        blocks=blocks.end(len(taken.timed.total)),
        readings={LOCK_STEP: _told(taken, turns.order)},
    )


def come_to_rest() -> None:
    """Wait until no thread of this process computes any more, or for as long as that is worth."""
    for _ in range(MOST_REST_LOOKS):
        used_ns = time.process_time_ns()
        time.sleep(REST_LOOK_S)
        if time.process_time_ns() - used_ns < REST_RATIO * REST_LOOK_S * 1e9:
            return


def _take(sampler: Sampler, taken: Taken, calls: int, begin_ns: int) -> None:
    before, cold = len(taken.timed.total), Timings()
    taken.begin_us.append((time.monotonic_ns() - begin_ns) // 1000)
    taken.rewarm_ns.append(int(collect(sampler, cold, Amount(1, REWARM_S, calls=calls)) * 1e9))
    taken.timed_s += collect(sampler, taken.timed, Amount(1, BLOCK_S, calls=calls))
    taken.samples.append(len(taken.timed.total) - before)


def _has_enough(taken: Taken, rule: GradeRule) -> bool:
    return len(taken.timed.total) >= rule.timed_runs and taken.timed_s >= rule.timed_s


def _is_full(taken: Taken, rule: GradeRule) -> bool:
    return len(taken.timed.total) >= protocol.MOST_SAMPLES or taken.timed_s >= rule.timed_cap_s


def _told(taken: Taken, order: LockStep) -> dict[str, Any]:
    return {
        "session": order.session,
        "round": order.round,
        "block_s": BLOCK_S,
        "samples": taken.samples,
        "rewarm_ns": taken.rewarm_ns,
        "begin_us": taken.begin_us,
    }
