"""Records as `agent bench` makes them, with chosen numbers."""

from collections.abc import Sequence
from typing import Any

from wire.trial import Flag, MemoryUse, Replicate, Samples, TrialRecord


def replicate(samples_ns: Sequence[int], **fields: Any) -> Replicate:
    packed = Samples.pack(samples_ns)
    parts = dict.fromkeys(("total_ns", "pre_ns", "infer_ns", "post_ns", "warm_up_ns"), packed)
    return Replicate.model_validate({**parts, "order": 0, "conditions": {"calls_per_sample": 1}, **fields})


def record(processes: Sequence[Sequence[int]], **fields: Any) -> TrialRecord:
    """Return a record with one process for each of `processes`, which are their samples [ns]."""
    described: dict[str, Any] = {
        "fleet": "bench",
        "device": "local",
        "trial": "bench",
        "plan_gen": 0,
        "workload": "main",
        "bundle": "a" * 64,
        "variant": "onnx-float",
        "engine": "onnxruntime",
        "engine_version": "1.0",
        "outcome": "measured",
        "replicates": tuple(replicate(samples) for samples in processes),
        "memory": MemoryUse(baseline_bytes=2**20, loaded_bytes=2**21, peak_bytes=2**22, by="vm_hwm"),
        "conditions": {"cpu_model": "some processor", "before": {"governor": "performance"}},
        **fields,
    }
    return TrialRecord(**described)


def steady(median_ns: int, processes: int = 5, samples: int = 60, **fields: Any) -> TrialRecord:
    """Return a record whose processes differ by a few per mille."""
    each = [[median_ns + place * median_ns // 1000] * samples for place in range(processes)]
    return record(each, **fields)


def in_lock_step(median_ns: int, ratios: Sequence[float] = (1.0,) * 5, **fields: Any) -> TrialRecord:
    """Return a record of rounds in lock-step: each round's turns wander by a factor of two, and have a ratio."""
    processes = []
    for number, ratio in enumerate(ratios):
        turns = [[int(median_ns * ratio * wander)] * 3 for wander in (1.0, 2.1, 1.3, 1.7)]
        told = {"session": "s", "round": number, "samples": [3] * 4}
        samples = [value for turn in turns for value in turn]
        processes.append(replicate(samples, conditions={"calls_per_sample": 1, "lock_step": told}))
    return record([], replicates=tuple(processes), **{"conditions": {"interleaving": "lock-step"}, **fields})


VOID = Flag(reason="probe_invalid", remedy="cool the device", void=True)
DOUBT = Flag(reason="busy_host", remedy="measure when it is idle")
