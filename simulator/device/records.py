"""Records of virtual trials: samples drawn as the class's model says, each record marked as simulated.

Decides: how many processes and samples a record has, and its mark. Leaves out: when a trial ends (`plan.py`).
"""

import base64
import zlib
from random import Random

from agent.measure.protocol import GRADES
from agent.plan.outbox import PART_BYTES
from simulator.classes import SimulatedClass
from simulator.device.serving import BASE_RSS_BYTES, INFER_RATIO, size_bytes
from simulator.device.site import Site
from simulator.device.voice import VERSION
from simulator.draw import Traits, answers, bundle_median_ms, failure_of, process_median_ms, query_ms
from wire.base import encode
from wire.canonical import sha256_hex
from wire.manifest import BundleManifest, DatasetManifest
from wire.spec import ClassificationPost
from wire.trial import (
    Flag,
    Golden,
    MemoryUse,
    Phases,
    Plan,
    Predictions,
    Replicate,
    Samples,
    TrialPart,
    TrialRecord,
    TrialRequest,
    Validity,
)

MOST_SAMPLES = 100
"""Of one process: enough for percentiles, and little to send for ten thousand devices."""
SIMULATED = Flag(reason="simulated", remedy="the numbers were drawn from a model; measure on a device")


def record_of(
    site: Site,
    cls: SimulatedClass,
    traits: Traits,
    plan: Plan,
    request: TrialRequest,
    *,
    found: tuple[BundleManifest, DatasetManifest | None],
) -> TrialRecord:
    """Return the record of one trial.

    Args:
        site: For the seed and the clock.
        cls: The device's class.
        traits: The device's own.
        plan: Asks for the trial.
        request: The trial.
        found: Manifests of its bundle, and of its evaluation set where it names one.
    """
    bundle, evaluation = found
    seed, device = site.settings.seed, plan.device
    unfit = traits.failing and failure_of(seed, device, request.bundle.digest) == "selftest"
    fields = {**_asked(plan, request), **_outcome(unfit), "started_s": site.clock(), "wall_s": cls.trial_s}
    fields |= {
        "engine_version": cls.engines.get(request.engine, ""),
        "golden": Golden(passed=not unfit, samples=bundle.golden.samples),
    }
    if not unfit:
        chance, size = Random(f"{seed}/{device}/{request.trial}"), size_bytes(bundle)
        fields |= {
            "replicates": _replicates(chance, seed, cls, traits, request, size=size),
            "memory": _memory(chance, size),
            "predictions": _predictions(seed, request, bundle, evaluation),
        }
    return TrialRecord.model_validate(fields)


def _asked(plan: Plan, request: TrialRequest) -> dict[str, object]:
    """Return what a record repeats of its request."""
    return {
        "fleet": plan.fleet,
        "device": plan.device,
        "trial": request.trial,
        "plan_gen": plan.plan_gen,
        "workload": request.workload,
        "bundle": request.bundle.digest,
        "variant": request.variant,
        "control": request.control,
        "engine": request.engine,
        "threads": request.threads or 1,
        "scenario": request.scenario,
        "settings": request.settings,
        "grade": request.grade,
        "conditions": {"serving_policy": plan.policy.serving, "simulated": True},
    }


def _outcome(unfit: bool) -> dict[str, object]:
    """Return how a trial ended, with the mark that nothing of it was measured."""
    return {
        "outcome": "unfit" if unfit else "measured",
        "error": "golden_mismatch: drawn by the simulator" if unfit else "",
        "validity": Validity(valid=not unfit, reasons=("golden_mismatch",) if unfit else ()),
        "flags": (SIMULATED,),
        "emulated": True,
        "agent_version": VERSION,
    }


def parts_of(record: TrialRecord) -> list[TrialPart]:
    """Return a record cut for the wire."""
    content = zlib.compress(encode(record), 6)
    digest = sha256_hex(content)
    slices = [content[start : start + PART_BYTES] for start in range(0, len(content), PART_BYTES)]
    return [
        TrialPart(
            trial=record.trial, part=number, parts=len(slices), sha256=digest, data=base64.b64encode(piece).decode()
        )
        for number, piece in enumerate(slices)
    ]


def _replicates(
    chance: Random, seed: int, cls: SimulatedClass, traits: Traits, request: TrialRequest, *, size: int
) -> tuple[Replicate, ...]:
    rule = GRADES[request.grade]
    typical = traits.pace * bundle_median_ms(seed, cls.latency, request.bundle.digest, max(1, size))
    found = []
    for order in range(rule.replicates):
        median = process_median_ms(chance, cls.latency, typical)
        drawn = [query_ms(chance, cls.latency, median) * 1e6 for _ in range(min(rule.timed_runs, MOST_SAMPLES))]
        found.append(_replicate(order, [round(each) for each in drawn], request))
    return tuple(found)


def _replicate(order: int, total_ns: list[int], request: TrialRequest) -> Replicate:
    infer = [round(INFER_RATIO * each) for each in total_ns]
    pre = [(total - inferred) // 2 for total, inferred in zip(total_ns, infer, strict=True)]
    post = [total - inferred - before for total, inferred, before in zip(total_ns, infer, pre, strict=True)]
    rate = len(total_ns) * request.settings.batch / (sum(total_ns) / 1e9)
    return Replicate(
        order=order,
        total_ns=Samples.pack(total_ns),
        pre_ns=Samples.pack(pre),
        infer_ns=Samples.pack(infer),
        post_ns=Samples.pack(post),
        warm_up_ns=Samples.pack(()),
        queries_per_second=rate if request.scenario in ("offline", "server") else None,
        phases=Phases(load_ms=sum(total_ns) / len(total_ns) / 1e5),
        conditions={"simulated": True},
    )


def _memory(chance: Random, size: int) -> MemoryUse:
    loaded = BASE_RSS_BYTES + 2 * size
    peak = loaded + round(size * chance.uniform(0.8, 1.2)) + round(1e6 * chance.random())
    return MemoryUse(baseline_bytes=BASE_RSS_BYTES // 2, loaded_bytes=loaded, peak_bytes=peak, by="simulated")


def _predictions(
    seed: int, request: TrialRequest, bundle: BundleManifest, evaluation: DatasetManifest | None
) -> Predictions | None:
    """Return drawn answers of a classifier; other kinds have none: limits on them cannot be tried here."""
    post = bundle.pipeline.post
    if evaluation is None or request.evaluation is None or not isinstance(post, ClassificationPost):
        return None
    classes = len(post.labels) or max(2, post.output.shape[-1])
    drawn = answers(seed, request.evaluation.digest, request.bundle.digest, evaluation.samples, classes)
    return Predictions(evaluation=request.evaluation.digest, samples=evaluation.samples, classes=Samples.pack(drawn))
