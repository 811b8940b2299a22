"""Records of trials as devices send them, small, for the tests of what the controller makes of them."""

from collections.abc import Sequence
from typing import Any

from controller.fleet.views import TrialView
from controller.trial.compare import Side
from controller.trial.summary import Labels, summarise
from wire.trial import MemoryUse, Phases, Predictions, Replicate, Samples, TrialRecord

SET = "e" * 64


def process(order: int, samples_ns: Sequence[int], *flags: str, **fields: Any) -> Replicate:
    """A process whose every series is the same."""
    packed = Samples.pack(list(samples_ns))
    series: dict[str, Any] = dict.fromkeys(("total_ns", "pre_ns", "infer_ns", "post_ns"), packed)
    return Replicate(order=order, flags=flags, warm_up_ns=Samples.pack([9_000, 8_000]), **(series | fields))


def processes(*medians_ns: int, queries: int = 100, **fields: Any) -> tuple[Replicate, ...]:
    """Processes of equal samples, one for each median."""
    return tuple(process(order, [median_ns] * queries, **fields) for order, median_ns in enumerate(medians_ns))


def record(**changes: Any) -> TrialRecord:
    fields: dict[str, Any] = {
        "fleet": "yard",
        "device": "barn-1",
        "trial": "t1",
        "plan_gen": 1,
        "workload": "main",
        "bundle": "b" * 64,
        "variant": "int8",
        "engine": "onnxruntime",
        "engine_version": "1.23",
        "grade": "normal",
        "outcome": "measured",
        "replicates": processes(1_000_000, 1_010_000, 990_000, 1_005_000, 995_000),
        "memory": MemoryUse(baseline_bytes=1, loaded_bytes=2, peak_bytes=3, by="vm_hwm"),
        "conditions": {"before": {"governor": "performance", "temperatures_celsius": {"cpu": 41.5}}, "cores": 4},
        "predictions": Predictions(evaluation=SET, samples=60, classes=Samples.pack([1] * 60)),
        "cold_loads": (Phases(load_ms=40.0), Phases(load_ms=44.0), Phases(load_ms=90.0)),
        "agent_version": "0.1.0",
    }
    return TrialRecord(**(fields | changes))


def side(group: str = "g", device_class: str = "single", labels: Labels | None = None, **changes: Any) -> Side:
    found = record(**changes)
    return Side(found, summarise(found, labels), device_class, group)


def view(made: TrialRecord | None = None, **changes: Any) -> TrialView:
    fields: dict[str, Any] = {
        "trial": "t1",
        "deployment": "d1",
        "fleet": "yard",
        "device": "barn-1",
        "device_class": "single",
        "workload": "main",
        "variant": "int8",
        "bundle": "b" * 64,
        "control": False,
        "stage": "received" if made else "asked",
        "outcome": made.outcome if made else None,
        "asked_s": 1.0,
        "received_s": 2.0 if made else None,
        "record": made,
    }
    return TrialView(**(fields | changes))
