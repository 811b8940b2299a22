"""A database with a small fleet in it, and a service that is only numbers."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from controller.config.fleet_file import FleetFile
from controller.leadership import Leadership
from controller.store import devices, rollouts, tables, telemetry
from controller.store.database import Store
from controller.workspace import Workspace
from wire.presence import Inventory, Presence
from wire.sketch import Sketch
from wire.telemetry import Metrics, WorkloadMetrics
from wire.update import Reported

FLEET = "farm"
NOW_S = 1000.0


def fleet_file() -> FleetFile:
    classes = [{"name": name, "match": {"labels": {"board": name}}} for name in ("small", "large")]
    goals = {"max_accuracy_drop_ratio": 0.03}
    main = {"model": "leaf@1", "recipes": ["float32"], "goals": goals}
    return FleetFile.model_validate({"version": 1, "fleet": FLEET, "classes": classes, "workloads": {"main": main}})


@dataclass
class StillService:
    """What the export asks of a service."""

    owner: str = "host:1:me"
    connected: bool = True
    turns: int = 7
    epoch: int = 1
    counts: Mapping[str, int] = field(default_factory=Counter)
    published_bytes: Mapping[str, int] = field(default_factory=Counter)
    published_chunks: Mapping[str, int] = field(default_factory=Counter)


def new_store(folder: Path) -> Store:
    workspace = Workspace(folder)
    workspace.create()
    return Store.open(workspace)


def lead(store: Store, owner: str) -> None:
    Leadership(store, lambda: NOW_S, owner).take()


def inventory(device: str, board: str, **changes: Any) -> Inventory:
    fields: dict[str, Any] = {"soc": "x", "machine": "x86_64", "cores": 1, "memory_bytes": 1, "threads": 1}
    fields |= {"os": "x", "kernel": "x", "python": "3", "disk_free_bytes": 1, "labels": {"board": board}}
    return Inventory(fleet=FLEET, device=device, **fields | changes)


def metrics(device: str, *latencies_ms: float, workload: str = "main", seq: int = 1, **changes: Any) -> Metrics:
    sketch = Sketch()
    for each in latencies_ms:
        sketch.add(each)
    told = WorkloadMetrics(
        workload=workload,
        queries=len(latencies_ms),
        latency_ms=sketch.data(),
        **{"worker_rss_bytes": 5_000_000} | changes,
    )
    return Metrics(
        fleet=FLEET, device=device, boot_id="1-a", seq=seq, at_s=1.0, interval_s=60.0, workloads=(told,),
        temperature_celsius=50.0 + len(device), throttled=device == "a-1",
    )  # fmt: skip


def add_device(store: Store, device: str, board: str, *, online: bool = True, state: str = "committed") -> None:
    presence = Presence(fleet=FLEET, device=device, online=online, boot_id="1-a", agent_version="1")
    report = Reported(
        fleet=FLEET, device=device, workload="main", gen=1, state=state, boot_id="1-a", seq=1, at_s=1.0  # type: ignore[arg-type]
    )  # fmt: skip
    with store.begin() as session:
        devices.set_presence(session, presence, now_s=NOW_S - 30)
        devices.set_inventory(session, inventory(device, board), now_s=NOW_S - 30)
        devices.record_report(session, report, now_s=NOW_S - 30)
        told = metrics(device, 5.0)
        telemetry.add_metrics(session, told, now_s=NOW_S - 30)
        devices.set_metrics(session, told, now_s=NOW_S - 30)


def add_rollout(store: Store, name: str, state: str, outcomes: Mapping[str, str | None], created_s: float) -> None:
    with store.begin() as session:
        session.add(
            tables.Rollout(
                id=name, fleet=FLEET, workload="main", policy={}, state=state, wave=1, memory={}, created_s=created_s,
                updated_s=created_s + 10,
            )
        )  # fmt: skip
        session.flush()
        for device, outcome in outcomes.items():
            session.add(
                tables.RolloutDevice(
                    rollout=name, device=device, device_class="small", wave=0, bundle="b" * 64, outcome=outcome
                )
            )
        session.flush()
        assert rollouts.get(session, name).state == state
