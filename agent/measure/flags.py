"""Reasons to doubt a number, each with what to do about it, and when a process has them. Pure.

Decides: what each reason means for the record. A flag never removes a sample. Leaves out: the readings that they follow
from (`conditions/`, `scenarios/`), and which flags a whole trial has (`record.py`).
"""

from collections.abc import Mapping
from typing import Any

from agent.measure.protocol import (
    CONTAMINATED_RATIO,
    DRIFT_VOID_RATIO,
    FEWEST_QUERIES,
    PROBE_VOID_RATIO,
    PROBE_WARN_RATIO,
    THROTTLED_NOW_BITS,
    GradeRule,
    slower_ratio,
)

LATE_RATIO = 0.05
"""More queries than this that began late, or later than this share of the period: the pace was not kept."""

FOUND_IDLE_RATIO = 0.02
"""Fewer arrivals than this found the device idle: they queue up without end, and latencies say how long the test was.
Of Poisson arrivals, the share that finds it idle is one less the load (PASTA: Wolff 1982)."""

REMEDIES: dict[str, tuple[str, bool]] = {
    "busy_host": ("others kept the processor busy when measuring began: measure when the device is idle", False),
    "compiled_while_timing": (
        "a kernel was compiled while it was timed: run `agent warm` on the device and measure again",
        True,
    ),
    "disturbed": ("other processes ran during more than 5 % of the samples: free the device and measure again", False),
    "drift": (
        "latency rose by more than 3 % during the timed loop: a burst that cannot be kept up; cool the device",
        True,
    ),
    "drift_short": (
        "latency rose by more than 3 % in a short loop, or between queries that came seldom: measure at a higher grade "
        "before relying on it",
        False,
    ),
    "few_inputs": ("fewer than eight inputs were in rotation: give the bundle more golden inputs", False),
    "frequency_capped": (
        "the highest allowed clock was lowered while measuring: look at heat and power limits",
        False,
    ),
    "frequency_fell": (
        "the clock fell while measuring: fix the governor to `performance`, or cool the device",
        False,
    ),
    "hot": (
        "the device was warmer than 5 degrees above idle when measuring began, or near its trip point: let it cool "
        "down, or improve its cooling",
        False,
    ),
    "interval_not_reached": (
        "the interval stayed wider than the grade asks for: free the device and measure again",
        False,
    ),
    "late": (
        "more than 5 % of the queries began late: the device does not keep the pace; ask for a longer period",
        False,
    ),
    "mean_of_k": ("calls shorter than 1 ms are timed several at a time: read medians, not tails", False),
    "not_profiled": (
        "the operators could not be profiled: the times hold, the conditions' `profile_error` says why",
        False,
    ),
    "on_battery": ("the device ran on its battery, where clocks may be lower: plug it in", False),
    "overloaded": (
        "queries came faster than they were answered: waiting grows with the length of the test; lower the rate",
        False,
    ),
    "oversubscribed": (
        "the engine has more threads than there are cores for it: lower `threads`, or raise affinity and quota",
        False,
    ),
    "power_source_changed": ("the power source changed while measuring: measure again", False),
    "powersave_governor": (
        "the governor holds the clock at its lowest: choose `schedutil` or `performance` if applications get that",
        False,
    ),
    "probe_invalid": ("the processor got more than 10 % slower while it measured: cool or free the device", True),
    "probe_slower": ("the processor got up to 10 % slower while it measured: look at heat and neighbours", False),
    "quota_throttled": (
        "a CPU quota stopped the process while it measured: raise the quota, or use fewer threads",
        False,
    ),
    "replaced": (
        "a doubtful process was measured once more: it stays in the record and counts in no number",
        False,
    ),
    "stalled": (
        "the process stood still for more than 5 % of the time: look for what stops it (signals, a freezer, a slow "
        "disk)",
        False,
    ),
    "steal": (
        "the hypervisor gave the processor to others: measure on a quiet host, or on the device itself",
        False,
    ),
    "streams_in_sequence": (
        "the model takes no batch, so that the streams' queries ran one after the other: export it with a free batch "
        "axis to have them together",
        False,
    ),
    "swapping": ("memory was short while measuring: stop other processes or use a smaller variant", False),
    "throttled": ("the processor is being throttled: check power supply and cooling", True),
    "throttled_briefly": ("the processor was throttled for a moment: check power supply and cooling", False),
    "unstable": (
        "latency had not settled when the warm-up's time was over: free the device, or use a higher grade",
        False,
    ),
}
"""Reason of a flag -> (what to do about it, whether it voids the speed)."""

UNQUIET = frozenset(
    {
        "disturbed",
        "drift_short",
        "frequency_capped",
        "frequency_fell",
        "power_source_changed",
        "probe_slower",
        "quota_throttled",
        "stalled",
        "steal",
        "swapping",
        "throttled_briefly",
        "unstable",
    }
) | {reason for reason, (_, void) in REMEDIES.items() if void}
"""Flags of a process that had the machine not for itself, or not at its usual speed."""


def replicate_flags(readings: Mapping[str, Any], rule: GradeRule) -> list[str]:
    """Return the reasons to doubt a replicate that follow from its readings (see `scenarios/replicate.py`)."""
    probe = slower_ratio(readings["probe_before_ns"], readings["probe_after_ns"])
    drifted = readings["drift_ratio"] > DRIFT_VOID_RATIO
    # A processor that rests between queries wakes at other clocks each time: its times scatter by more than that.
    voids = rule.drift_voids and "found_idle_ratio" not in readings
    checks = {
        "probe_invalid": probe > PROBE_VOID_RATIO,
        "probe_slower": PROBE_WARN_RATIO < probe <= PROBE_VOID_RATIO,
        "drift": drifted and voids,
        "drift_short": drifted and not voids,
        "disturbed": (readings["disturbed_ratio"] or 0.0) > CONTAMINATED_RATIO,
        "throttled": bool((readings["after"]["throttled_bits"] or 0) & THROTTLED_NOW_BITS),
        "mean_of_k": readings["calls_per_sample"] > 1,
        "few_inputs": readings["queries_in_rotation"] < FEWEST_QUERIES,
        "overloaded": readings.get("found_idle_ratio", 1.0) < FOUND_IDLE_RATIO,
        "late": (readings.get("late_ratio") or 0.0) > LATE_RATIO,
        "streams_in_sequence": readings.get("as_batch") is False,
        "compiled_while_timing": readings.get("compiled_while_timing", 0) > 0,
    }
    return [reason for reason, holds in checks.items() if holds]
