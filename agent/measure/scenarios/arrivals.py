"""Queries that arrive: `server` (a Poisson process) and `paced` (one every period). Latency counts from the arrival.

Decides: how a query's time is waited for. The process sleeps until it is due and never spins: spinning would keep the
clock and the caches of a processor awake that in service falls asleep between queries, and waking up belongs to the
latency that an application sees. A sleep ends a little late (timer slack is set to its least; what remains is `wait`,
told apart as `wakeup_ns` for queries that found the device idle). Leaves out: the schedule (`schedule.py`).
"""

import ctypes
import itertools
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from agent.inference.pipeline import Pipeline
from agent.measure.flags import LATE_RATIO
from agent.measure.protocol import MOST_SAMPLES, GradeRule
from agent.measure.scenarios import schedule
from agent.measure.scenarios.blocks import Blocks
from agent.measure.scenarios.loop import Course, Loop, Query, Subject, Timings, warm_up
from wire.trial import Scenario, ScenarioSettings

HALF = 0.5
"""Of the rate at which queries went through the warm-up back to back: the load of `server` where none is asked for.
The first process of a variant finds it, the others are told (`session.py`)."""

READING_NS = 2_000_000
"""A block is ended only where the next query is so far away: reading must not delay it."""

_PR_SET_TIMERSLACK = 29
_LEAST_SLACK_NS = 1


def run_arrivals(subject: Subject, rule: GradeRule, scenario: Scenario, settings: ScenarioSettings) -> Course:
    """Warm up back to back, let a few queries come as they will, then time those that follow."""
    set_timer_slack(_LEAST_SLACK_NS)
    started = time.monotonic_ns()
    warm, stable = warm_up(Loop(subject.pipeline, subject.queries), rule)
    rate_hz = settings.rate_hz or HALF * len(warm.total) / ((time.monotonic_ns() - started) / 1e9)
    is_paced = scenario == "paced"
    due = schedule.paced(settings.period_ms) if is_paced else schedule.poisson(rate_hz, settings.seed)
    arrivals = Arrivals(subject.pipeline, subject.queries, due)
    left_s = rule.warm_up_s + rule.warm_up_cap_s - (time.monotonic_ns() - started) / 1e9
    arrivals.run(warm, Limits(rule.window_runs, 0.0, max(left_s, 0.0)))
    timed, blocks = Timings(), Blocks(rule)
    begin = time.monotonic_ns()
    span = arrivals.run(timed, Limits(rule.timed_runs, rule.timed_s, rule.timed_cap_s), blocks)
    between_ns = (begin, time.monotonic_ns())
    readings = _readings(timed, span, settings.period_ms if is_paced else None)
    return Course(
        warm_up=warm,
        timed=timed,
        stable=stable,
        calls=1,
        queries=len(timed.total),
        warm_up_s=(begin - started) / 1e9,
        timed_s=span.seconds,
        between_ns=between_ns,
        blocks=blocks.end(len(timed.total)),
        queries_per_second=None if is_paced else round(len(timed.total) / span.seconds, 6),
        over_bound_ratio=over_bound_ratio(timed.total, settings.bound_ms),
        readings={**readings, **({} if is_paced else {"rate_hz": round(rate_hz, 6)})},
    )


@dataclass(frozen=True)
class Limits:
    """At least so many queries and seconds; none that is due after the cap, but for the first."""

    queries: int
    seconds: float
    cap_s: float


@dataclass(frozen=True)
class Span:
    """How long queries came [s], from the first one's due time to the last answer; how many of them found the device
    idle, and how late it woke up for those that it slept for [ns]."""

    seconds: float
    found_idle: int
    wakeups_ns: Sequence[int]


class Arrivals:
    """Answers queries as they are due, in rotation."""

    def __init__(self, pipeline: Pipeline, queries: Sequence[Query], due: Iterator[int]) -> None:
        self._pipeline = pipeline
        self._queries = itertools.cycle(queries)
        self._due = due

    def run(self, timings: Timings, limits: Limits, blocks: Blocks | None = None) -> Span:
        """Answer what comes next in the schedule, as much as `limits` says.

        The schedule goes on from call to call; its time begins anew with each: the first query is due at once.
        """
        first = next(self._due)
        wakeups: list[int] = []
        base = now = time.perf_counter_ns()
        for done, due in enumerate(itertools.chain((first,), self._due)):
            after = due - first
            enough = done >= limits.queries and after >= limits.seconds * 1e9
            if done and (enough or done >= MOST_SAMPLES or max(after, now - base) > limits.cap_s * 1e9):
                break
            idle_ns = base + after - time.perf_counter_ns()
            if blocks is not None and idle_ns > READING_NS and now - base >= blocks.due_ns:
                blocks.cut(now - base, done)
            _sleep_until(base + after)
            now = self._answer(timings, base + after)
            if idle_ns > 0:
                wakeups.append(timings.wait[-1])
        return Span((now - base) / 1e9, len(wakeups) + 1, wakeups)  # and the first one, due at once

    def _answer(self, timings: Timings, due_ns: int) -> int:
        """Answer one query and add its sample; return when it was answered."""
        clock, pipeline, query = time.perf_counter_ns, self._pipeline, next(self._queries)
        cpu = time.process_time_ns()
        start = clock()
        pipeline.prepare(query)
        prepared = clock()
        output = pipeline.infer()
        inferred = clock()
        pipeline.finish(output)
        finished = clock()
        timings.cpu.append(time.process_time_ns() - cpu)
        timings.wait.append(max(0, start - due_ns))
        timings.pre.append(prepared - start)
        timings.infer.append(inferred - prepared)
        timings.post.append(finished - inferred)
        timings.total.append(finished - min(start, due_ns))
        return finished


def _sleep_until(moment_ns: int) -> None:
    """Sleep until `moment_ns` on the clock of `perf_counter_ns`, and not less."""
    while (left_ns := moment_ns - time.perf_counter_ns()) > 0:
        time.sleep(left_ns / 1e9)


def set_timer_slack(slack_ns: int) -> None:
    """Let this process's sleeps end at most so late on the kernel's account; the default is 50 µs. Source: prctl(2)."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_TIMERSLACK, ctypes.c_ulong(slack_ns), 0, 0, 0)


def over_bound_ratio(latencies_ns: Sequence[int], bound_ms: float | None) -> float | None:
    """Return the share of queries that took longer than the bound; None without one."""
    if bound_ms is None or not latencies_ns:
        return None
    return round(sum(latency > bound_ms * 1e6 for latency in latencies_ns) / len(latencies_ns), 6)


def _readings(timed: Timings, span: Span, period_ms: float | None) -> dict[str, Any]:
    """Return how busy the device was, how late sleeps ended, and at a pace how many queries began late.

    Late is a start by more than `LATE_RATIO` of the period after it was due.
    """
    found: dict[str, Any] = {
        "found_idle_ratio": round(span.found_idle / len(timed.total), 4),
        "busy_ratio": round(sum(timed.service()) / 1e9 / span.seconds, 4),
        "wakeup_ns": int(statistics.median(span.wakeups_ns)) if span.wakeups_ns else None,
    }
    if period_ms is not None:
        late = sum(wait > LATE_RATIO * period_ms * 1e6 for wait in timed.wait)
        found |= {"period_ms": period_ms, "late_ratio": round(late / len(timed.wait), 4)}
    return found
