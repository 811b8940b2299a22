"""A trial's numbers as one flat row, units in the names: what a comparison puts side by side and an export writes.

Decides: names, units and order. Leaves out: which samples count (`summary`) and conditions (`export`). What was not
measured is None, never 0.
"""

import math
import statistics
from collections.abc import Sequence

from controller.choose.measured import Estimate, TrialSummary
from controller.trial.summary import REPLACED
from wire.statistics import sustained
from wire.trial import Phases, TrialRecord

Cell = str | int | float | bool | None
Row = dict[str, Cell]

RISEN = frozenset({"drift", "drift_short"})
"""Flags of a process that got slower while it was timed."""

PHASES = ("import_ms", "compile_ms", "load_ms", "first_inference_ms", "warm_up_ms")


def figures(record: TrialRecord, summary: TrialSummary) -> Row:
    """Return the numbers of one trial; times of phases are medians over its processes."""
    energy = record.energy
    return {
        "processes": len(summary.process_medians_ns),
        "samples": summary.samples,
        **_milliseconds("p50", summary.p50_ns),
        **_milliseconds("p95", summary.p95_ns),
        **_milliseconds("p99", summary.p99_ns),
        **_milliseconds("query", summary.query_ns),
        "sustained_ms": _sustained_ms(record),
        "queries_per_second": _rate(record, summary),
        "over_bound_ratio": summary.over_bound_ratio,
        **_memory(record),
        "energy_j": summary.energy_j,
        "energy_source": energy.source if energy else None,
        "energy_mean_w": energy.mean_w if energy else None,
        "energy_idle_w": energy.idle_w if energy else None,
        **_phases(record),
        **_score(summary),
    }


def finite(value: float | None) -> float | None:
    """Return a number that JSON, CSV and people can read: None for what is unbounded."""
    return value if value is not None and math.isfinite(value) else None


def _milliseconds(name: str, estimate: Estimate | None) -> Row:
    values: tuple[float | None, ...] = (None, None, None)
    if estimate is not None:
        bounded = finite(estimate.upper) is not None  # one process alone has no interval: its bounds are 0 and infinity
        values = (estimate.value, estimate.lower if bounded else None, estimate.upper if bounded else None)
    keys = (f"{name}_ms", f"{name}_lower_ms", f"{name}_upper_ms")
    return {key: None if value is None else value / 1e6 for key, value in zip(keys, values, strict=True)}


def _sustained_ms(record: TrialRecord) -> float | None:
    """Return the latency at the end of the timed loops, where a process got slower in its loop."""
    kept = [each for each in record.replicates if REPLACED not in each.flags and each.total_ns.count]
    if record.scenario == "offline" or RISEN.isdisjoint(flag for each in kept for flag in each.flags):
        return None
    return sustained([each.total_ns.unpack() for each in kept]) / 1e6


def _rate(record: TrialRecord, summary: TrialSummary) -> float | None:
    """Return the queries answered in a second: `offline` its result, `server` what came and was answered."""
    if summary.query_ns is not None:
        return 1e9 / summary.query_ns.value
    return _median([each.queries_per_second for each in record.replicates if REPLACED not in each.flags])


def _memory(record: TrialRecord) -> Row:
    names = ("baseline_bytes", "loaded_bytes", "peak_bytes", "anonymous_bytes", "file_bytes")
    found: Row = {f"memory_{name}": getattr(record.memory, name, None) for name in names}
    return {**found, "memory_by": record.memory.by if record.memory else None}


def _phases(record: TrialRecord) -> Row:
    timed = [each.phases for each in record.replicates if REPLACED not in each.flags]
    found: Row = {name: _phase(timed, name) for name in PHASES}
    loads: Row = {
        "cold_load_ms": _phase(record.cold_loads, "load_ms"),
        "warm_load_ms": _phase(record.warm_loads, "load_ms"),
    }
    return found | loads | {"cache_misses": _sum([each.cache_misses for each in timed])}


def _phase(phases: Sequence[Phases], name: str) -> float | None:
    return _median([getattr(each, name) for each in phases])


def _score(summary: TrialSummary) -> Row:
    if summary.judgement is None:
        return {}
    return {f"score_{name}": finite(value) for name, value in summary.judgement.metrics.items()}


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def _sum(values: Sequence[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None
