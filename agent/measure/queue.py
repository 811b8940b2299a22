"""Measure a group of variants on this host: one process at a time, variants interleaved, neighbours waited for.

Decides: what is looked at before the first process, and in which order a variant's kinds of process come. Leaves out:
what a worker does, and whether serving pauses meanwhile (the daemon's). Light: no numpy.

    for record in measure_group(requests, bundles, evaluations, context, cancel): ...
"""

import contextlib
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.errors import EngineFailed
from agent.measure import conditions
from agent.measure.energy import EnergyMeter, find_meter, idle_watts
from agent.measure.host.cores import usable_threads
from agent.measure.host.turns import host_lock, wait_until_at_rest
from agent.measure.process import Canceled
from agent.measure.record import Measured, assemble
from agent.measure.session import MeasureContext, Session
from agent.warm import ensure_warm, read_report
from wire.trial import TrialRecord, TrialRequest

__all__ = ["MeasureContext", "measure_group"]


def measure_group(
    requests: Sequence[TrialRequest],
    bundles: Mapping[str, Path],
    evaluations: Mapping[str, Path],
    context: MeasureContext,
    cancel: threading.Event,
) -> Iterator[TrialRecord]:
    """Measure the variants of one group against each other, and yield a record for each as it is complete.

    Speed first, interleaved; then each variant's memory and answers in a process of its own, then its operators and
    its loads. A variant that fails is dropped from later rounds, and its record says why. After `cancel` nothing more
    is yielded, unless the context keeps what was interrupted: then each record that is not complete says so.

    Args:
        requests: Variants of one group.
        bundles: Folder of each bundle, by digest.
        evaluations: Folder of each evaluation set, by digest.
        context: Where and how.
        cancel: Ends the running process and this generator.
    """
    ends_s = None if context.longest_s is None else time.monotonic() + context.longest_s
    group = [_start(request, bundles, evaluations, context) for request in requests]
    with contextlib.suppress(Canceled), host_lock(context.lock_path, cancel), _work_folder(context) as folder:
        scene = _set_scene(group, context, cancel)
        session = Session(context, folder, cancel, scene.meter, ends_s=ends_s)
        for one in _completed(group, session):
            record = assemble(one, _shared(context, one, scene), _conditions(context, one, scene), scene.reasons)
            context.say("trial", trial=record.trial, variant=record.variant, outcome=record.outcome)
            yield record


def _completed(group: Sequence[Measured], session: Session) -> Iterator[Measured]:
    """Measure, and yield each variant as all of it is there.

    Raises:
        Canceled: As it was set, and nothing is kept.
    """
    left = list(group)
    try:
        session.speeds(group)
        while left:
            one, *rest = left
            session.memory(one)
            session.profile(one)
            session.loads(one, rest)
            left = rest
            yield one
    except Canceled:
        if not session.context.keeps_interrupted:
            raise
        for one in left:
            one.interrupt()
            yield one


@dataclass(frozen=True)
class Scene:
    """What was found before the first process began."""

    started_s: float
    before: Mapping[str, Any]
    waited_s: float
    reasons: tuple[str, ...]
    meter: EnergyMeter | None
    kernels_compile_s: float | None


def _set_scene(group: Sequence[Measured], context: MeasureContext, cancel: threading.Event) -> Scene:
    compile_s = _warm(context)
    started_s, before = time.time(), conditions.snapshot()
    limit_s = max((one.rule.preflight_wait_s for one in group), default=0.0)
    waited_s, reasons = wait_until_at_rest(limit_s, cancel, context.idle)
    meter = _meter(group, context)
    idle_w = None if meter is None else idle_watts(meter)
    for one in group:
        one.idle_w = idle_w
    return Scene(started_s, before, waited_s, reasons, meter, compile_s)


def _meter(group: Sequence[Measured], context: MeasureContext) -> EnergyMeter | None:
    """Return the device's energy meter where a timed loop is long enough for it; an emulated device has none."""
    if context.emulated:
        return None
    meter = find_meter()
    longest_s = max((one.rule.timed_s for one in group), default=0.0)
    return meter if meter is not None and longest_s >= meter.least_s else None


def _start(
    request: TrialRequest, bundles: Mapping[str, Path], evaluations: Mapping[str, Path], context: MeasureContext
) -> Measured:
    evaluation = evaluations.get(request.evaluation.digest) if request.evaluation else None
    one = Measured(request, bundles.get(request.bundle.digest), evaluation)
    usable = _usable_threads(context)
    if context.engines_allowed is not None and request.engine not in context.engines_allowed:
        one.give_up("incompatible", f"engine_missing: {request.engine} is not allowed on this device")
    elif request.threads is not None and request.threads > usable:
        detail = f"{request.threads} threads are asked for, cores and quota of this device give {usable}"
        one.give_up("incompatible", f"threads_unavailable: {detail}")
    elif one.bundle is None:
        one.give_up("failed", f"not_found: bundle {request.bundle.digest} is not on this device")
    elif request.evaluation is not None and evaluation is None:
        one.give_up("failed", f"not_found: evaluation set {request.evaluation.digest} is not on this device")
    one.threads_allowed, one.threads_usable = request.threads or context.threads, usable
    return one


def _usable_threads(context: MeasureContext) -> int:
    workers = context.workers
    cores = context.affinity or (workers.cores if workers is not None else None)
    return usable_threads(cores, workers.cpu_quota_ratio if workers is not None else None)


def _warm(context: MeasureContext) -> float | None:
    """Kernels are compiled before anything is timed; where that fails, workers use numba and their records say so.

    Returns:
        What compiling them took when it was done [s]; None where it failed.
    """
    try:
        report = read_report(ensure_warm(context.cache_dir))
    except EngineFailed as exc:
        context.say("not_warm", detail=str(exc))
        return None
    return None if report is None else round(sum(report.compiled_s.values()) + report.kept_s, 3)


@contextlib.contextmanager
def _work_folder(context: MeasureContext) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="measure-", dir=context.work_dir) as folder:
        yield Path(folder)


def _shared(context: MeasureContext, one: Measured, scene: Scene) -> dict[str, Any]:
    return {
        "fleet": context.fleet,
        "device": context.device,
        "plan_gen": context.plan_gen,
        "threads": one.threads,
        "emulated": context.emulated,
        "agent_version": context.agent_version,
        "started_s": scene.started_s,
    }


def _conditions(context: MeasureContext, one: Measured, scene: Scene) -> dict[str, Any]:
    return {
        **conditions.fixed_conditions(asks_services=True),
        "before": dict(scene.before),
        "after": conditions.snapshot(),
        "preflight_waited_s": round(scene.waited_s, 3),
        "preflight_reasons": list(scene.reasons),
        "idle_celsius": None if context.idle is None else context.idle.celsius(time.time()),
        "usable_threads": _usable_threads(context),
        "kernels_compile_s": scene.kernels_compile_s,
        "profile_error": one.profile_error,
        "interleaving": one.interleaving,
        "not_in_lock_step": one.not_in_lock_step or None,
        "memory_cap_bytes": context.memory_cap_bytes,
        "memory_cap_by": "+".join(sorted(one.caps)) or None,
        "worker_affinity": list(context.affinity) if context.affinity else None,
    }
