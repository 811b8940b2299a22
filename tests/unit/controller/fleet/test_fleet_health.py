from dataclasses import replace
from typing import Any

import pytest

from controller.fleet.health import SILENT_INTERVALS, UNANSWERED_S, health_of
from controller.fleet.views import DeviceView, WorkloadView
from wire.artifact import ArtifactRef
from wire.device_state import State
from wire.presence import Inventory
from wire.telemetry import Metrics
from wire.update import Desired, Reported, ReportedError

NOW_S = 10_000.0
REF = ArtifactRef(digest="a" * 64, index=("c" * 64,), index_bytes=1, size_bytes=1, wire_bytes=1)
INVENTORY = Inventory(
    fleet="farm",
    device="pi-1",
    soc="s",
    machine="m",
    cores=1,
    memory_bytes=1,
    threads=1,
    os="o",
    kernel="k",
    python="3",
    disk_free_bytes=1,
)
WELL = DeviceView("farm", "pi-1", True, 0.0, NOW_S, inventory=INVENTORY)


def metrics(**fields: Any) -> Metrics:
    return Metrics(fleet="farm", device="pi-1", boot_id="b", seq=1, at_s=1.0, interval_s=10.0, **fields)


def workload(state: State, gen: int = 1, wanted: int = 1, age_s: float = 0.0, error: str = "") -> WorkloadView:
    reported = Reported(
        fleet="farm",
        device="pi-1",
        workload="main",
        gen=gen,
        state=state,
        boot_id="b",
        seq=1,
        at_s=1.0,
        error=ReportedError(code=error, error_class="terminal") if error else None,
    )
    desired = Desired(
        fleet="farm",
        device="pi-1",
        workload="main",
        gen=wanted,
        epoch=1,
        action="run",
        bundle=REF,
        engine="e",
        issued_s=NOW_S - age_s,
        expires_s=NOW_S + 1,
    )
    return WorkloadView("main", reported, desired, wanted, True)


@pytest.mark.parametrize(
    ("changes", "level", "reason"),
    [
        ({}, "good", ""),
        ({"online": False, "last_seen_s": NOW_S - 7200}, "absent", "2 h ago"),
        ({"protocol": 99}, "troubled", "protocol 99"),
        ({"inventory": None}, "troubled", "inventory"),
        ({"metrics": metrics(), "metrics_s": NOW_S - SILENT_INTERVALS * 10}, "good", ""),
        ({"metrics": metrics(), "metrics_s": NOW_S - SILENT_INTERVALS * 10 - 1}, "troubled", "31 s ago"),
        ({"metrics": metrics(throttled=True), "metrics_s": NOW_S}, "troubled", "throttles"),
        ({"workloads": {"main": workload(State.COMMITTED)}}, "good", ""),
        ({"workloads": {"main": workload(State.UNFIT, error="golden_mismatch")}}, "troubled", "golden_mismatch"),
        ({"workloads": {"main": workload(State.INCOMPATIBLE)}}, "troubled", "cannot run"),
        ({"workloads": {"main": workload(State.DOWNLOAD, age_s=UNANSWERED_S - 1)}}, "good", ""),
        ({"workloads": {"main": workload(State.DOWNLOAD, age_s=UNANSWERED_S + 1)}}, "troubled", "not carried out"),
        ({"workloads": {"main": workload(State.COMMITTED, 1, 2, UNANSWERED_S + 1)}}, "troubled", "document 2"),
    ],
)
def test_health(changes: dict[str, Any], level: str, reason: str) -> None:
    health = health_of(replace(WELL, **changes), NOW_S)
    assert health.level == level
    assert bool(health.reasons) is (level != "good")
    assert reason in "; ".join(health.reasons)


def test_the_next_metrics_may_be_due_later_than_the_last_interval_was_long() -> None:
    soon = replace(WELL, metrics=metrics(next_s=60.0), metrics_s=NOW_S - SILENT_INTERVALS * 60.0 + 1)
    assert health_of(soon, NOW_S).reasons == ()
    silent = replace(soon, metrics_s=NOW_S - SILENT_INTERVALS * 60.0 - 1)
    assert "last metrics" in health_of(silent, NOW_S).reasons[0]
