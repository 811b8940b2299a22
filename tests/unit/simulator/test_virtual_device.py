"""A simulated device takes the agent's way through an update, measures by drawing, and obeys signed documents only."""

import base64
import zlib
from pathlib import Path
from typing import Any

import pytest

from controller.keys import create_key
from simulator.classes import SHIPPED, LatencyModel, SimulatedClass
from simulator.draw import Shares, failure_of
from tests.unit.simulator.one_device import OneDevice
from wire.base import decode
from wire.device_state import State
from wire.presence import Inventory, Presence
from wire.sketch import Sketch
from wire.trial import TrialRecord, TrialRequest

CLASS = SimulatedClass(
    name="board", latency=LatencyModel(median_ms=10.0), selftest_s=2.0, trial_s=5.0, queries_per_second=4.0
)
GOOD = ["check", "wait", "download", "verify", "staged", "selftest", "switch", "probation", "committed"]


def device(folder: Path, shares: Shares | None = None, **changes: Any) -> OneDevice:
    made = OneDevice(folder, CLASS, shares, **changes)
    made.connect()
    return made


def records(one: OneDevice) -> list[TrialRecord]:
    parts = one.of("trial")
    whole = b"".join(base64.b64decode(part.data) for part in parts)
    assert all(part.parts == 1 for part in parts)
    found = []
    while whole:
        stream = zlib.decompressobj()
        found.append(decode(TrialRecord, stream.decompress(whole)))
        whole = stream.unused_data
    return found


def request(one: OneDevice, name: str, **changes: Any) -> TrialRequest:
    fields: dict[str, Any] = {
        "trial": name,
        "workload": "main",
        "bundle": one.bundle(name).ref,
        "variant": name,
        "format": "onnx",
        "engine": "onnxruntime",
        "grade": "quick",
        **changes,
    }
    return TrialRequest(**fields)


def test_it_says_that_nothing_of_it_is_real(tmp_path: Path) -> None:
    one = device(tmp_path)
    (inventory,) = one.of("inventory")
    assert isinstance(inventory, Inventory)
    assert (inventory.simulated, inventory.emulated) == (True, True)
    assert inventory.soc.startswith("simulated")
    assert inventory.labels["simulated"] == CLASS.name
    (presence,) = one.of("presence")
    assert isinstance(presence, Presence)
    assert presence.online
    assert len(one.of("sync")) == 1


def test_an_update_goes_through_every_state_with_real_chunks(tmp_path: Path) -> None:
    one = device(tmp_path)
    bundle = one.bundle()
    one.desire(1, bundle)
    one.run(60.0)
    assert one.states() == GOOD
    last = one.of("reported")[-1]
    assert (last.active, last.serving, last.gen) == (bundle.digest, bundle.digest, 1)
    wants = one.of("want")
    assert wants[0].pieces == bundle.ref.index
    assert any(want.missing for want in wants)
    assert one.site.counts.states["committed"] == 1


def test_a_chunk_that_never_comes_is_asked_for_again(tmp_path: Path) -> None:
    one = device(tmp_path)
    one.answers_wants = False
    one.desire(1, one.bundle())
    one.run(20.0)
    assert len(one.of("want")) > 2
    assert one.states()[-1] == "download"
    one.answers_wants = True
    one.run(60.0)
    assert one.states()[-1] == "committed"


def test_a_document_that_another_key_signed_changes_nothing(tmp_path: Path) -> None:
    one = device(tmp_path)
    one.desire(1, one.bundle(), key=create_key(tmp_path / "other"))
    one.run(60.0)
    assert one.of("reported") == []
    assert [event.reason for event in one.of("event")] == ["bad_signature"]
    assert one.site.counts.refused == 1


def test_an_engine_that_it_has_not_is_incompatible(tmp_path: Path) -> None:
    one = device(tmp_path)
    one.desire(1, one.bundle(engine="other"), engine="other")
    one.run(60.0)
    assert one.states()[-1] == "incompatible"


def test_virtual_work_passes_faster_where_that_is_asked(tmp_path: Path) -> None:
    fast, slow = device(tmp_path / "fast", speed=100.0), device(tmp_path / "slow")
    for one in (fast, slow):
        one.desire(1, one.bundle())
        one.run(1.0)
    assert fast.states()[-1] == "probation"
    assert slow.states()[-1] == "selftest"


def test_a_failing_device_fails_as_it_was_drawn_and_goes_back(tmp_path: Path) -> None:
    one = device(tmp_path, Shares(failing=1.0))
    ways = {failure_of(1, one.device.name, one.bundle(f"b{number}", 5_000).digest): number for number in range(40)}
    assert set(ways) == {None, "selftest", "probation", "errors"}
    one.desire(1, one.bundle(f"b{ways[None]}", 5_000))
    one.run(60.0)
    one.desire(2, one.bundle(f"b{ways['selftest']}", 5_000))
    one.run(60.0)
    assert one.states()[-1] == "unfit"
    one.desire(3, one.bundle(f"b{ways['probation']}", 5_000))
    one.run(60.0)
    assert one.states()[-1] == "rolled_back"
    assert one.of("reported")[-1].serving == one.bundle(f"b{ways[None]}", 5_000).digest
    one.desire(4, one.bundle(f"b{ways['errors']}", 5_000))
    one.run(200.0)
    (told,) = one.of("metrics")[-1].workloads
    assert told.errors > 0
    assert told.errors_by_reason == {"engine_failed": told.errors}


def test_metrics_are_sketches_of_the_class(tmp_path: Path) -> None:
    one = device(tmp_path)
    one.desire(1, one.bundle())
    one.run(60.0)
    one.device._pulse.start()
    one.run(61.0)
    last = one.of("metrics")[-1]
    (told,) = last.workloads
    sketch = Sketch()
    sketch.merge(told.latency_ms)
    assert told.queries == sketch.count == round(4.0 * last.interval_s)
    assert 2.0 < sketch.quantile(0.5) < 20.0
    assert sum(told.predictions.values()) == told.queries
    assert last.temperature_celsius > 30


def test_what_is_drawn_depends_on_the_seed_alone(tmp_path: Path) -> None:
    def medians(folder: str, seed: int) -> list[list[int]]:
        one = device(tmp_path / folder, seed=seed)
        one.plan(request(one, "t-1"))
        one.run(60.0)
        return [replicate.total_ns.unpack() for replicate in records(one)[0].replicates]

    assert medians("a", 1) == medians("b", 1)
    assert medians("c", 2) != medians("d", 1)


def test_a_plan_is_measured_by_drawing_and_sent_until_it_is_acknowledged(tmp_path: Path) -> None:
    one = device(tmp_path)
    evaluation = one.evaluation(samples=50)
    both = [request(one, name, evaluation=evaluation.ref, group="g", control=name == "t-1") for name in ("t-1", "t-2")]
    one.plan(*both)
    one.run(15.0)
    found = records(one)
    assert [record.trial for record in found] == ["t-1", "t-2"]
    for record in found:
        assert (record.outcome, record.emulated, record.conditions["simulated"]) == ("measured", True, True)
        assert [flag.reason for flag in record.flags] == ["simulated"]
        assert record.predictions is not None
        assert record.predictions.samples == 50
        assert max(record.predictions.classes.unpack() if record.predictions.classes else [9]) < 4
    one.run(31.0)
    assert len(one.of("trial")) == 4  # nobody has answered
    one.acknowledge("t-1", "t-2")
    one.run(120.0)
    assert len(one.of("trial")) == 4


def test_an_update_waits_for_a_measurement(tmp_path: Path) -> None:
    one = device(tmp_path)
    one.plan(request(one, "t-1"))
    one.run(1.0)
    one.desire(1, one.bundle("t-1"))
    one.run(1.0)
    assert one.states()[-1] == "staged"
    one.run(60.0)
    assert one.states()[-1] == "committed"


def test_a_power_cut_costs_a_try_and_no_bundle(tmp_path: Path) -> None:
    one = device(tmp_path)
    bundle = one.bundle()
    one.desire(1, bundle)
    one.run(1.0)
    workload = one.device._workloads["main"]
    assert workload.saved.state is State.SELFTEST
    boot = one.of("reported")[-1].boot_id
    one.device._power_cut()
    one.run(30.0)
    assert workload.saved.state is State.SELFTEST
    one.device._power_back()
    one.run(60.0)
    last = one.of("reported")[-1]
    assert (last.state, last.active) == (State.COMMITTED, bundle.digest)
    assert last.boot_id != boot
    assert workload.saved.selftest_tries == 2


def test_single_queries_are_refused_with_a_reason(tmp_path: Path) -> None:
    from agent.mqtt import RawReceived
    from wire.envelope import seal
    from wire.raw import RawRequest

    one = device(tmp_path)
    fields = {"fleet": "farm", "device": one.device.name, "workload": "main", "request": "r-1", "seconds": 5.0}
    asked = RawRequest(**fields, issued_s=0.0, expires_s=1e12)  # type: ignore[arg-type]
    one.hear(RawReceived(seal("raw", asked, one.key.key_id, one.key.sign)))
    one.run(0.01)
    assert [event.reason for event in one.of("event")] == ["not_simulated"]


@pytest.mark.parametrize("cls", SHIPPED, ids=lambda cls: cls.name)
def test_the_shipped_classes_have_inventories_that_can_be_told(tmp_path: Path, cls: SimulatedClass) -> None:
    one = OneDevice(tmp_path, cls)
    one.connect()
    assert {engine.name for engine in one.of("inventory")[0].engines} == set(cls.engines)
