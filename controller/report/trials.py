"""A trial as plain values, with every raw sample and the conditions under which it was taken."""

from typing import Any

from controller.choose.measured import TrialSummary
from controller.fleet.views import trial_view
from controller.store import tables
from controller.trial.figures import figures
from controller.trial.summary import summarise
from wire.trial import Replicate, TrialRecord

_SERIES = ("total_ns", "pre_ns", "infer_ns", "post_ns", "warm_up_ns")
_OPTIONAL_SERIES = ("cpu_ns", "wait_ns")
_SUMMARY = (
    *(f"{name}{bound}_ms" for name in ("p50", "p95", "p99", "query") for bound in ("", "_lower", "_upper")),
    "sustained_ms",
    "queries_per_second",
    "over_bound_ratio",
)


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
    return {**plain, "replicates": replicates, **_summary(record, summarise(record, None))}


def _replicate(each: Replicate) -> dict[str, Any]:
    return {
        "order": each.order,
        "samples_ns": {
            name: samples.unpack()
            for name in (*_SERIES, *_OPTIONAL_SERIES)
            if (samples := getattr(each, name)) is not None
        },
        "queries_per_second": each.queries_per_second,
        "over_bound_ratio": each.over_bound_ratio,
        "phases": each.phases.model_dump(mode="json"),
        "conditions": each.conditions,
        "flags": list(each.flags),
    }


def _summary(record: TrialRecord, found: TrialSummary) -> dict[str, Any]:
    """The choice's own rules: a replaced process does not count, and means of several calls have no 95th percentile."""
    numbers = figures(record, found)
    return {
        "samples": found.samples,
        "serving_policy": found.serving_policy,
        "summary": {name: numbers[name] for name in _SUMMARY},
    }


def _nothing() -> dict[str, Any]:
    """Return the record's fields for a trial that has not come back."""
    empty: dict[str, Any] = {
        "replicates": [], "samples": 0, "summary": dict.fromkeys(_SUMMARY), "memory": None, "flags": [],
        "conditions": {}, "emulated": False, "error": "", "serving_lost_s": 0.0,
    }  # fmt: skip
    return empty
