"""Which intervals count for the canaries, and which for what they are compared with."""

import pytest

from controller.rollout.metrics import class_metrics
from controller.rollout.policy import ErrorRateGate, GatePolicy, RolloutPolicy
from controller.store import tables, telemetry
from controller.store.database import Store
from wire.sketch import Sketch
from wire.telemetry import Metrics, WorkloadMetrics

OLD, NEW = "a" * 64, "b" * 64
GATED = RolloutPolicy(gate=GatePolicy(error_rate=ErrorRateGate(margin_ratio=0.01)))
OFFERED_S = 1000.0


def interval(device: str, seq: int, active: str, errors: int = 0, workload: str = "main") -> Metrics:
    sketch = Sketch()
    sketch.add(2.0, 10)
    one = WorkloadMetrics(workload=workload, active=active, queries=10, errors=errors, latency_ms=sketch.data())
    return Metrics(fleet="farm", device=device, boot_id="b", seq=seq, at_s=1.0, interval_s=10.0, workloads=(one,))


def rollout(store: Store, devices: dict[str, int]) -> tables.Rollout:
    row = tables.Rollout(
        id="r-1",
        fleet="farm",
        workload="main",
        policy={},
        state="soak",
        wave=0,
        memory={},
        created_s=OFFERED_S,
        updated_s=OFFERED_S,
    )
    with store.begin() as session:
        session.add(row)
        session.flush()
        for device, wave in devices.items():
            session.add(
                tables.RolloutDevice(
                    rollout="r-1", device=device, device_class="c", wave=wave, bundle=NEW, previous=OLD
                )
            )
        session.add(tables.Wave(rollout="r-1", number=0, phase="soak", offered_s=OFFERED_S))
    return row


def members(store: Store) -> list[tables.RolloutDevice]:
    with store.read() as session:
        return list(session.query(tables.RolloutDevice))


def heard(store: Store, *told: tuple[float, Metrics]) -> None:
    with store.begin() as session:
        for at_s, metrics in told:
            telemetry.add_metrics(session, metrics, now_s=at_s)


def test_canaries_are_compared_with_devices_of_later_waves(store: Store) -> None:
    row = rollout(store, {"pi-1": 0, "pi-2": 1})
    heard(
        store,
        (OFFERED_S - 5, interval("pi-1", 1, OLD, errors=9)),  # before the wave
        (OFFERED_S + 5, interval("pi-1", 2, OLD, errors=9)),  # not switched yet
        (OFFERED_S + 15, interval("pi-1", 3, NEW, errors=1)),
        (OFFERED_S + 25, interval("pi-1", 4, NEW, errors=2)),
        (OFFERED_S + 25, interval("pi-1", 5, NEW, errors=9, workload="soil")),
        (OFFERED_S + 25, interval("pi-2", 1, OLD, errors=3)),
    )
    with store.read() as session:
        found = class_metrics(session, row, members(store), GATED)["c"]
    assert (found.canary.devices, found.canary.queries, found.canary.errors) == (1, 20, 3)
    assert found.canary.latency_ms is not None
    assert found.canary.latency_ms.count == 20
    assert found.concurrent
    assert found.compared is not None
    assert (found.compared.queries, found.compared.errors) == (10, 3)


@pytest.mark.parametrize("has_past", [True, False])
def test_without_a_hold_out_the_canaries_own_past_stands_in(store: Store, has_past: bool) -> None:
    row = rollout(store, {"pi-1": 0})
    heard(store, (OFFERED_S + 5, interval("pi-1", 2, NEW, errors=1)))
    if has_past:
        heard(store, (OFFERED_S - 5, interval("pi-1", 1, OLD, errors=2)))
    with store.read() as session:
        found = class_metrics(session, row, members(store), GATED)["c"]
    assert not found.concurrent
    assert (found.compared.errors if found.compared else None) == (2 if has_past else None)


def test_nothing_is_read_where_no_gate_asks(store: Store) -> None:
    row = rollout(store, {"pi-1": 0})
    with store.read() as session:
        assert class_metrics(session, row, members(store), RolloutPolicy()) == {}


def test_buckets_of_another_width_are_left_out_and_their_queries_count(store: Store) -> None:
    row = rollout(store, {"pi-1": 0})
    narrow = Sketch(0.005)
    narrow.add(2.0, 10)
    odd = WorkloadMetrics(workload="main", active=NEW, queries=10, latency_ms=narrow.data())
    told = interval("pi-1", 1, NEW).model_copy(update={"workloads": (odd, *interval("pi-1", 1, NEW).workloads)})
    heard(store, (OFFERED_S + 1, told))
    with store.read() as session:
        found = class_metrics(session, row, members(store), GATED)["c"].canary
    assert found.queries == 20
    assert found.latency_ms is not None
    assert found.latency_ms.count == 10
