"""Queries of a wave's canaries and of what they are compared with, summed from the devices' intervals.

Decides: which intervals count for which side. Leaves out: what the sums prove (`gates`).
"""

from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy.orm import Session

from controller.rollout.policy import RolloutPolicy
from controller.rollout.view import ClassMetrics, QueryGroup
from controller.store import tables, telemetry
from wire.sketch import Sketch
from wire.telemetry import Metrics, WorkloadMetrics

_Members = Sequence[tables.RolloutDevice]


def class_metrics(
    session: Session, row: tables.Rollout, members: _Members, policy: RolloutPolicy
) -> Mapping[str, ClassMetrics]:
    """Return each class's queries in the current wave; empty where no gate asks for them.

    The hold-out are the class's devices of later waves. Without any, the canaries' own queries before the wave stand
    in, over as long a time, and the result says so (`concurrent` false).
    """
    wave = session.get(tables.Wave, (row.id, row.wave))
    if (policy.gate.error_rate is None and policy.gate.latency is None) or wave is None or wave.offered_s is None:
        return {}
    return {
        name: _of_class(session, row, [each for each in members if each.device_class == name], wave.offered_s)
        for name in {each.device_class for each in members}
    }


def _of_class(session: Session, row: tables.Rollout, members: _Members, since_s: float) -> ClassMetrics:
    canaries = [each for each in members if each.wave == row.wave]
    holdout = [each for each in members if each.wave > row.wave]
    canary = _group(_seen(session, row, each, since_s, each.bundle) for each in canaries)
    if holdout:
        return ClassMetrics(canary, _group(_seen(session, row, each, since_s, each.previous) for each in holdout))
    length_s = max(row.updated_s - since_s, 600.0)
    before = [_seen(session, row, each, since_s - length_s, each.previous, before_s=since_s) for each in canaries]
    return ClassMetrics(canary, _group(before) if any(before) else None, concurrent=False)


def _seen(
    session: Session,
    row: tables.Rollout,
    member: tables.RolloutDevice,
    since_s: float,
    bundle: str | None,
    *,
    before_s: float = float("inf"),
) -> list[WorkloadMetrics]:
    found = telemetry.intervals(session, row.fleet, member.device, since_s=since_s)
    return [
        workload
        for interval in found
        if interval.received_s < before_s
        for workload in Metrics.model_validate(interval.document).workloads
        if workload.workload == row.workload and workload.active == bundle
    ]


def _group(devices: Iterable[list[WorkloadMetrics]]) -> QueryGroup:
    sketch, count, queries, errors = Sketch(), 0, 0, 0
    for intervals in devices:
        count += bool(intervals)
        for each in intervals:
            queries, errors = queries + each.queries, errors + each.errors
            # Buckets of another width fit with nothing; no agent sends them, but the network might.
            if each.latency_ms is not None and each.latency_ms.relative_error_ratio == sketch.relative_error_ratio:
                sketch.merge(each.latency_ms)
    return QueryGroup(count, queries, errors, sketch.data() if sketch.count else None)
