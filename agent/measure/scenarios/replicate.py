"""One replicate: this fresh process warms up, then times its queries, and says under which conditions.

Decides: what is read before and after. Leaves out: how queries come (`loop.py`, `batches.py`, `arrivals.py`), how many
processes there are and what their numbers mean (`queue.py`, `protocol.py`).
"""

import gc
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agent.inference.kernels.compiled import cache_counts
from agent.inference.pipeline import Pipeline
from agent.measure import conditions, protocol
from agent.measure.flags import replicate_flags
from agent.measure.orders import MeasureOrder
from agent.measure.protocol import GRADES
from agent.measure.scenarios import Course, Subject, run_course
from agent.measure.scenarios.loop import Loop, Timings
from agent.measure.scenarios.turns import Turns, run_in_turns
from wire.trial import Phases, Replicate, Samples

PROBE_ROUNDS = 7
PROBE_STEPS = 40_000


def take_replicate(subject: Subject, order: MeasureOrder, phases: Phases, turns: Turns | None = None) -> Replicate:
    """Warm up and time.

    Args:
        subject: Loaded; its engine has run at least once. Fewer than eight queries are flagged.
        order: Grade, scenario and its settings, place in the group's order.
        phases: What came before.
        turns: How it hears of its turns, where it takes them with another process.
    Raises:
        ScenarioUnfit: The bundle cannot do what the scenario asks for.
    """
    rule = GRADES[order.grade]
    threads = engine_threads(subject.pipeline)
    before = begin()
    course = _collector_off(subject, order, turns)
    after = end()
    lost = _lost(before.lost, after.lost)
    readings = {
        **conditions.fixed_conditions(),
        **_engine(subject.pipeline),
        "before": before.snapshot,
        "after": after.snapshot,
        "probe_before_ns": before.probe_ns,
        "probe_after_ns": after.probe_ns,
        **lost,
        **_amounts(course),
        **course.readings,
        "queries_in_rotation": len(subject.queries),
        "disturbed_ratio": _disturbed_ratio(course.timed, threads, lost["run_delay_ns"]),
        "drift_ratio": round(protocol.drift_ratio(course.timed.service()), 4),
        "compiled_while_timing": after.compiled - before.compiled,
    }
    # Who waits for queries, or for a turn, need not compute all the time.
    keeps_busy = turns is None and order.scenario not in ("server", "paced")
    flags = [*replicate_flags(readings, rule), *_disturbances(before, after, threads, keeps_busy)]
    flags += [] if course.stable else ["unstable"]
    return _packed(order.order, course, phases, readings, flags)


@dataclass(frozen=True)
class Moment:
    """What is read before a process warms up and after it was timed: the probe outside, losses next to the loop."""

    at_ns: int
    snapshot: dict[str, Any]
    probe_ns: int
    lost: dict[str, int | None]
    compiled: int


def begin() -> Moment:
    """Read in the order in which least lies between the losses and the loop."""
    snapshot, probe = conditions.snapshot(), probe_ns()
    return Moment(time.perf_counter_ns(), snapshot, probe, conditions.interference(), cache_counts()[1])


def end() -> Moment:
    """Read the same in the opposite order."""
    lost, compiled, now_ns = conditions.interference(), cache_counts()[1], time.perf_counter_ns()
    probe = probe_ns()
    return Moment(now_ns, conditions.snapshot(), probe, lost, compiled)


def _disturbances(before: Moment, after: Moment, threads: int, keeps_busy: bool) -> list[str]:
    seconds = (after.at_ns - before.at_ns) / 1e9
    readings = [{**moment.snapshot, **moment.lost} for moment in (before, after)]
    return conditions.changed_flags(readings[0], readings[1], seconds, threads, keeps_busy)


def _collector_off(subject: Subject, order: MeasureOrder, turns: Turns | None) -> Course:
    rule = GRADES[order.grade]
    gc.collect()
    gc.disable()
    try:
        if turns is not None:
            return run_in_turns(Loop(subject.pipeline, subject.queries), rule, turns, engine_threads(subject.pipeline))
        return run_course(subject, rule, order.scenario, order.settings)
    finally:
        gc.enable()


def _amounts(course: Course) -> dict[str, Any]:
    return {
        "calls_per_sample": course.calls,
        "queries": course.queries,
        "warm_up_s": round(course.warm_up_s, 6),
        "timed_s": round(course.timed_s, 6),
        "timed_begin_ns": course.between_ns[0],
        "timed_end_ns": course.between_ns[1],
        "blocks": list(course.blocks),
    }


def _packed(order: int, course: Course, phases: Phases, readings: Mapping[str, Any], flags: Sequence[str]) -> Replicate:
    warm, timed = course.warm_up, course.timed
    spent = {"warm_up_ms": round(sum(warm.total) / 1e6, 3), "warm_up_runs": len(warm.total)}
    return Replicate(
        order=order,
        total_ns=Samples.pack(timed.total),
        pre_ns=Samples.pack(timed.pre),
        infer_ns=Samples.pack(timed.infer),
        post_ns=Samples.pack(timed.post),
        warm_up_ns=Samples.pack(both_ends(warm.total)),
        cpu_ns=Samples.pack(timed.cpu),
        wait_ns=Samples.pack(timed.wait) if timed.wait else None,
        queries_per_second=course.queries_per_second,
        over_bound_ratio=course.over_bound_ratio,
        phases=phases.model_copy(update=spent),
        conditions=dict(readings),
        flags=tuple(sorted(set(flags))),
    )


def both_ends(samples: Sequence[int], most: int = protocol.MOST_SAMPLES) -> Sequence[int]:
    """Return the first and the last samples of a warm-up that took very many, `most` together."""
    return samples if len(samples) <= most else [*samples[: most // 2], *samples[-(most - most // 2) :]]


def probe_ns() -> int:
    """Return how long a fixed loop takes: the same work before and after shows a clock that changed [ns].

    The fastest of several short rounds: neighbours who take the processor away are seen elsewhere (`disturbed_ratio`),
    and must not pass for a slower clock.
    """
    rounds = []
    for _ in range(PROBE_ROUNDS):
        start, total = time.perf_counter_ns(), 0
        for step in range(PROBE_STEPS):
            total += step * step
        rounds.append(time.perf_counter_ns() - start)
    return min(rounds)


def _engine(pipeline: Pipeline) -> dict[str, Any]:
    engine = pipeline.engine
    return {"engine": engine.name, "engine_version": engine.version, "engine_settings": dict(engine.settings)}


def engine_threads(pipeline: Pipeline) -> int:
    """Return the engine's thread count, which decides whether CPU time can be compared with wall time."""
    return int(pipeline.engine.settings["intra_op_threads"])


def _disturbed_ratio(timed: Timings, threads: int, run_delay_ns: int | None) -> float | None:
    """Share of samples in which this process waited; with several threads, of the time in which they waited.

    The CPU time of several threads adds up, so that it cannot be held against wall time.
    """
    service = timed.service()
    if threads == 1:
        return round(protocol.disturbed_ratio(service, timed.cpu), 4)
    return None if run_delay_ns is None else round(run_delay_ns / (threads * max(1, sum(service))), 4)


def _lost(before: Mapping[str, int | None], after: Mapping[str, int | None]) -> dict[str, int | None]:
    pairs = {name: (before[name], after[name]) for name in after}
    return {name: None if old is None or new is None else max(0, new - old) for name, (old, new) in pairs.items()}
