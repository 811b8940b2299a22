"""A trial as plain values, with every raw sample and the conditions under which it was taken."""

import math
from collections.abc import Sequence
from typing import Any

from controller.fleet.views import trial_view
from controller.store import tables
from wire.trial import Replicate, TrialRecord

_SERIES = ("total_ns", "pre_ns", "infer_ns", "post_ns", "warm_up_ns")
LEAST_FOR_P95 = 59
"""Fewer samples give no 95 % bound on the 95th percentile: then it is not stated (order statistics)."""


def trial_row(row: tables.Trial) -> dict[str, Any]:
    """Return a trial and, once its record is there, all that the device said."""
    view = trial_view(row)
    names = ("trial", "device", "device_class", "workload", "variant", "bundle", "control", "stage", "outcome")
    known = {name: getattr(view, name) for name in (*names, "asked_s", "received_s")}
    return {**known, **(_record(view.record) if view.record else _nothing())}


def _record(record: TrialRecord) -> dict[str, Any]:
    plain = record.model_dump(
        mode="json", exclude={"replicates", "predictions", "fleet", "device", "trial", "workload", "variant", "bundle"}
    )
    replicates = [_replicate(each) for each in record.replicates]
    totals = [value for each in replicates for value in each["samples_ns"]["total_ns"]]
    return {**plain, "replicates": replicates, "samples": len(totals), "summary": _summary(totals)}


def _replicate(each: Replicate) -> dict[str, Any]:
    return {
        "order": each.order,
        "samples_ns": {name: getattr(each, name).unpack() for name in _SERIES},
        "phases": each.phases.model_dump(mode="json"),
        "conditions": each.conditions,
        "flags": list(each.flags),
    }


def _summary(totals_ns: Sequence[int]) -> dict[str, float | None]:
    ordered = sorted(totals_ns)
    return {
        "p50_ms": _nearest_rank_ms(ordered, 0.50) if ordered else None,
        "p95_ms": _nearest_rank_ms(ordered, 0.95) if len(ordered) >= LEAST_FOR_P95 else None,
    }


def _nearest_rank_ms(ordered_ns: Sequence[int], fraction: float) -> float:
    return ordered_ns[max(0, math.ceil(fraction * len(ordered_ns)) - 1)] / 1e6


def _nothing() -> dict[str, Any]:
    """Return the record's fields for a trial that has not come back."""
    empty: dict[str, Any] = {
        "replicates": [], "samples": 0, "summary": {"p50_ms": None, "p95_ms": None}, "memory": None, "flags": [],
        "conditions": {}, "emulated": False, "error": "", "serving_lost_s": 0.0,
    }  # fmt: skip
    return empty
