"""A small deployment as rows: two classes, three variants, one rollout of two waves. Every value is of the schema."""

import zlib
from pathlib import Path
from typing import Any

from controller.store import deployments, devices, tables, trials
from controller.store.database import Store
from controller.workspace import Workspace
from wire.base import encode
from wire.device_state import State
from wire.presence import EngineInfo, Inventory, Presence
from wire.sketch import Sketch
from wire.telemetry import Metrics, WorkloadMetrics
from wire.trial import Flag, Golden, MemoryUse, Replicate, Samples, TrialRecord
from wire.update import Reported

DEPLOYMENT = "20261101-120000-ab12"
BUNDLES = {"baseline": "a" * 64, "onnx-int8": "b" * 64, "tflite-float": "c" * 64}
DEVICES = {"barn-1": "single", "barn-2": "single", "pump-1": "small"}
HOSTILE = '<script>alert(1)</script><img src=x onerror="alert(2)">'


def filled_store(
    root: Path, *, because: str = "smallest latency", error: str | None = None, both_engines: bool = False
) -> Store:
    """Return a store that holds one deployment; `because` and `error` are texts that a page must escape.

    `both_engines`: the class `single` measured a variant of the other engine too.
    """
    workspace = Workspace(root)
    workspace.create()
    store = Store.open(workspace)
    with store.begin() as session:
        row = tables.Deployment(
            id=DEPLOYMENT,
            fleet="yard",
            workload="main",
            model="leaf",
            model_version="1",
            settings={"digest": "d" * 64, "fleet_file": _fleet_file()},
            progress={
                "stages": {
                    "compressing": {"started_s": 100.0, "ended_s": 130.0},
                    "measuring": {"started_s": 130.0, "ended_s": 190.0},
                }
            },
        )
        deployments.create(session, row, now_s=100.0)
        for device, device_class in DEVICES.items():
            _add_device(session, device, device_class)
        deployments.set_variants(session, _variants())
        _add_trials(session, row, error)
        for device_class in ("single", "small"):
            deployments.set_choice(session, _choice(device_class, because, both_engines))
        _add_rollout(session)
        deployments.set_stage(session, DEPLOYMENT, "completed", now_s=240.0)
    return store


def _fleet_file() -> dict[str, Any]:
    return {
        "version": 1,
        "fleet": "yard",
        "classes": [
            {"name": "single", "match": {"labels": {"board": "single"}}},
            {"name": "small", "match": {"labels": {"board": "small"}}},
        ],
        "workloads": {"main": {"model": "leaf@1", "goals": {"max_accuracy_drop_ratio": 0.025}}},
    }


def _add_device(session: Any, device: str, board: str) -> None:
    engine = EngineInfo(name="onnxruntime", version="1.32.0", formats=("onnx",))
    inventory = Inventory(
        fleet="yard",
        device=device,
        soc="board",
        machine="x86_64",
        cores=2,
        memory_bytes=2**33,
        threads=1,
        os="Linux",
        kernel="6.1",
        python="3.11",
        engines=(engine,),
        disk_free_bytes=2**30,
        labels={"board": board},
        emulated=True,
        memory_cap_bytes=2**29,
        memory_cap_by="rlimit_data",
        host_id="h1",
    )
    presence = Presence(fleet="yard", device=device, online=True, boot_id="b1", agent_version="0.1.0")
    devices.set_presence(session, presence, now_s=110.0)
    devices.set_inventory(session, inventory, now_s=110.0)
    chosen = BUNDLES["onnx-int8" if board == "single" else "tflite-float"]
    report = Reported(
        fleet="yard",
        device=device,
        workload="main",
        gen=7,
        state=State.COMMITTED,
        active=chosen,
        boot_id="b1",
        seq=3,
        at_s=230.0,
    )
    devices.record_report(session, report, now_s=230.0)
    devices.set_metrics(session, _metrics(device, chosen), now_s=235.0)


def _metrics(device: str, active: str) -> Metrics:
    sketch = Sketch()
    for value in (2.0, 2.0, 2.0, 9.0):
        sketch.add(value)
    workload = WorkloadMetrics(
        workload="main", active=active, queries=4, latency_ms=sketch.data(), worker_rss_bytes=80 * 2**20
    )
    return Metrics(
        fleet="yard",
        device=device,
        boot_id="b1",
        seq=5,
        at_s=235.0,
        interval_s=10,
        workloads=(workload,),
        memory_available_bytes=2**32,
        temperature_celsius=48.5,
    )


def _variants() -> list[tables.Variant]:
    recipe = {"name": "int8", "passes": [{"simplify": {}}, {"quantize_static": {"scheme": "u8s8", "percentile": None}}]}
    offline = {
        "score": 0.979,
        "score_name": "accuracy",
        "samples": 242,
        "parameters": 502_726,
        "macs": 10**8,
        "disk_bytes": 2 * 10**6,
        "wire_bytes": 1_900_000,
        "sqnr_db": None,
        "metrics": {"accuracy": 0.979, "macro_f1": 0.97},
    }
    known = {"deployment": DEPLOYMENT, "screen": {"single": {"measured": True, "because": ""}}}
    return [
        tables.Variant(
            **known,
            variant="baseline",
            bundle=BUNDLES["baseline"],
            format="onnx",
            engine="onnxruntime",
            control=True,
            recipe={},
            offline=offline,
            error=None,
        ),
        tables.Variant(
            **known,
            variant="onnx-int8",
            bundle=BUNDLES["onnx-int8"],
            format="onnx",
            engine="onnxruntime",
            recipe=recipe,
            offline={**offline, "score": 0.975, "wire_bytes": 520_000, "sqnr_db": 27.4},
            error=None,
        ),
        tables.Variant(
            **known,
            variant="tflite-float",
            bundle=BUNDLES["tflite-float"],
            format="tflite",
            engine="litert",
            recipe={},
            offline=offline,
            error=None,
        ),
        tables.Variant(
            **known,
            variant="broken",
            bundle=None,
            format="onnx",
            engine="",
            recipe={},
            offline=None,
            error="a pass crashed",
        ),
    ]


def _add_trials(session: Any, row: tables.Deployment, error: str | None) -> None:
    from wire.artifact import ArtifactRef
    from wire.trial import TrialRequest

    for number, (variant, control) in enumerate((("baseline", True), ("onnx-int8", False))):
        reference = ArtifactRef(
            digest=BUNDLES[variant], index=("e" * 64,), index_bytes=10, size_bytes=10, wire_bytes=10
        )
        request = TrialRequest(
            trial=f"t{number}",
            workload="main",
            bundle=reference,
            variant=variant,
            format="onnx",
            engine="onnxruntime",
            grade="quick",
            control=control,
        )
        trials.ask(session, row, "barn-1", "single", request, now_s=130.0)
        found = trials.get(session, f"t{number}")
        assert found is not None
        record = _record(f"t{number}", variant, control, error or "")
        trials.receive(session, found, zlib.compress(encode(record)), "measured", now_s=150.0)


def _record(trial: str, variant: str, control: bool, error: str) -> TrialRecord:
    base = 4_000_000 if control else 1_000_000
    samples = Samples.pack([base + 1000 * number for number in range(100)])
    replicate = Replicate(
        order=0,
        total_ns=samples,
        pre_ns=samples,
        infer_ns=samples,
        post_ns=samples,
        warm_up_ns=Samples.pack([base]),
        conditions={"governor": "performance"},
    )
    return TrialRecord(
        fleet="yard",
        device="barn-1",
        trial=trial,
        plan_gen=1,
        workload="main",
        bundle=BUNDLES[variant],
        variant=variant,
        control=control,
        engine="onnxruntime",
        engine_version="1.32.0",
        grade="quick",
        outcome="measured",
        error=error,
        replicates=(replicate,),
        memory=MemoryUse(baseline_bytes=1, loaded_bytes=2, peak_bytes=80 * 2**20, by="vm_hwm"),
        golden=Golden(passed=True, samples=16),
        conditions={"processor": "test"},
        flags=(Flag(reason="busy_host", remedy="wait"),),
        emulated=True,
        agent_version="0.1.0",
        started_s=131.0,
        wall_s=9.0,
        serving_lost_s=4.5,
    )


def _choice(device_class: str, because: str, both_engines: bool) -> tables.Choice:
    single = device_class == "single"
    names = ("baseline", "onnx-int8") if single else ("tflite-float",)
    winner = names[-1]
    rejected = {"baseline": "slower"} if single else {"onnx-int8": "engine onnxruntime is not there"}
    if single and both_engines:
        names, rejected = (*names, "tflite-float"), rejected | {"tflite-float": "slower than onnx-int8"}
    document = {
        "because": because,
        "rejected": rejected,
        "front": [winner],
        "tightest": None,
        "goals": {"minimise": ["p50_ms"]},
        "measured_on": ["barn-1"],
        "emulated": True,
        "devices": [device for device, name in DEVICES.items() if name == device_class],
        "measured": [_measured(name, control=name == names[0]) for name in names],
    }
    return tables.Choice(
        deployment=DEPLOYMENT, device_class=device_class, variant=winner, bundle=BUNDLES[winner], document=document
    )


def _measured(variant: str, *, control: bool) -> dict[str, Any]:
    milliseconds = 4.0 if control else 1.0
    return {
        "variant": variant,
        "bundle": BUNDLES[variant],
        "control": control,
        "p50_ms": milliseconds,
        "p50_lower_ms": milliseconds * 0.9,
        "p50_upper_ms": milliseconds * 1.1,
        "p95_ms": milliseconds * 2,
        "p95_lower_ms": None,
        "p95_upper_ms": None,
        "speed_up": None if control else {"ratio": 4.0, "lower": 3.5, "upper": 4.6},
        "score_name": "accuracy",
        "score": 0.979 if control else 0.975,
        "loss": None,
        "peak_memory_bytes": 80 * 2**20,
        "memory_by": "vm_hwm",
        "wire_bytes": 520_000,
        "disk_bytes": 600_000,
        "grade": "quick",
        "samples": 100,
        "devices": ["barn-1"],
        "excluded": None,
        "flags": ["busy_host"],
    }


def _add_rollout(session: Any) -> None:
    session.add(
        tables.Rollout(
            id="r1",
            deployment=DEPLOYMENT,
            fleet="yard",
            workload="main",
            policy={},
            state="completed",
            wave=1,
            because="every wave passed",
            memory={},
            created_s=195.0,
            updated_s=240.0,
            finished_s=240.0,
        )
    )
    session.flush()
    for number in (0, 1):
        start = 195.0 + 20 * number
        session.add(
            tables.Wave(
                rollout="r1",
                number=number,
                phase="done",
                offered_s=start,
                soak_from_s=start + 8,
                ended_s=start + 18,
                ruling={"verdict": "pass"},
            )
        )
    for device, device_class in DEVICES.items():
        session.add(
            tables.RolloutDevice(
                rollout="r1",
                device=device,
                device_class=device_class,
                wave=int(device == "barn-2"),
                bundle=BUNDLES["onnx-int8"],
                outcome="committed",
                offered_s=196.0,
                ended_s=203.0,
            )
        )
