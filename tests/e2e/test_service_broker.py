"""The controller's service against the real broker and scripted devices."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from controller.broker.embedded import EmbeddedBroker
from controller.errors import BrokerUnreachable, Busy
from controller.mqtt import BrokerSettings
from controller.service import Service
from controller.store import audit, desired, rollouts
from controller.workspace import Workspace
from tests.e2e.fake_device import UNFIT, FakeDevice
from tests.e2e.service_kit import (
    FLEET,
    add_bundle,
    add_deployment,
    make_workspace,
    request,
    spec,
    wait_until,
)
from wire.device_state import State
from wire.trial import PlanPolicy

pytestmark = pytest.mark.e2e


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker(folder=tmp_path / "broker") as running:
        yield running


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return make_workspace(tmp_path / "workspace")


@pytest.fixture
def service(workspace: Workspace, broker: EmbeddedBroker) -> Iterator[Service]:
    with Service(workspace, BrokerSettings(port=broker.port), [FLEET]) as running:
        yield running


@pytest.fixture
def device(service: Service, broker: EmbeddedBroker) -> Iterator[Callable[..., FakeDevice]]:
    made: list[FakeDevice] = []

    def make(name: str, **options: object) -> FakeDevice:
        made.append(FakeDevice(broker.port, name, service.key.trusted_keys, **options).start())  # type: ignore[arg-type]
        return made[-1]

    yield make
    for each in made:
        each.stop()


def state_of(service: Service, rollout: str) -> str:
    with service.store.read() as session:
        return rollouts.get(session, rollout).state


def test_a_device_that_comes_and_goes_shows_in_the_registry(
    service: Service, device: Callable[..., FakeDevice]
) -> None:
    fake = device("pi-1")
    views = service.wait_for_devices(FLEET, lambda seen: any(each.inventory and each.online for each in seen), 10)
    assert [(each.device, each.online) for each in views] == [("pi-1", True)]
    assert views[0].inventory is not None
    assert views[0].inventory.labels == {"board": "a"}
    assert views[0].emulated
    fake.stop()
    views = service.wait_for_devices(FLEET, lambda seen: not seen[0].online, 10)
    assert not views[0].online


def test_a_plan_becomes_records_that_are_stored_and_acknowledged(
    service: Service, device: Callable[..., FakeDevice], workspace: Workspace
) -> None:
    bundle = add_bundle(workspace, "int8")
    deployment = add_deployment(service.store)
    fake = device("pi-1")
    asked = {"pi-1": [request(bundle, "t-1"), request(bundle, "t-2")]}
    service.ask_trials(deployment, asked, {"pi-1": "emulated"}, PlanPolicy())
    wait_until(lambda: all(each.stage == "received" for each in service.trials(deployment)), what="records stored")
    assert fake.wait(lambda it: {"t-1", "t-2"} <= set(it.acked))
    records = [each.record for each in service.trials(deployment)]
    assert [record.outcome for record in records if record] == ["measured", "measured"]
    # Sent again, as after a lost acknowledgement: acknowledged again, stored once.
    before = len(fake.acked)
    fake.send_record(asked["pi-1"][0])
    assert fake.wait(lambda it: len(it.acked) > before)
    assert len(service.trials(deployment)) == 2
    # Asking once more changes nothing.
    plans = len(fake.plans)
    service.ask_trials(deployment, asked, {"pi-1": "emulated"}, PlanPolicy())
    assert [each.stage for each in service.trials(deployment)] == ["received", "received"]
    assert all(not plan.trials for plan in fake.plans[plans:])


def test_a_rollout_goes_through_its_waves(
    service: Service, device: Callable[..., FakeDevice], workspace: Workspace
) -> None:
    bundle = add_bundle(workspace, "int8")
    fakes = [device(f"pi-{number}") for number in (1, 2, 3)]
    service.wait_for_devices(FLEET, lambda seen: sum(each.online for each in seen) == 3, 10)
    rollout = service.start_rollout(spec(bundle, ["pi-1", "pi-2", "pi-3"]))
    wait_until(lambda: state_of(service, rollout) == "completed", what="rollout completed")
    assert [fake.active for fake in fakes] == [bundle.digest] * 3
    with service.store.read() as session:
        members = rollouts.devices(session, rollout)
        waves = rollouts.waves(session, rollout)
        assert sorted(member.wave for member in members) == [0, 1, 1]
        assert {member.outcome for member in members} == {"committed"}
        assert all(wave.offered_s and wave.ended_s for wave in waves)
        assert audit.verify(session).holds
        assert len(audit.entries(session, rollout)) >= 4
    canary = next(fake for fake in fakes if fake.desired[0].wave == 0)
    assert all(fake is canary or fake.desired[0].issued_s > canary.desired[0].issued_s for fake in fakes)


def test_an_unfit_canary_stops_the_rollout_and_the_rest_is_never_asked(
    service: Service, device: Callable[..., FakeDevice], workspace: Workspace
) -> None:
    bundle = add_bundle(workspace, "bad")
    fakes = [device(f"pi-{number}", script=lambda _: UNFIT) for number in (1, 2, 3)]
    service.wait_for_devices(FLEET, lambda seen: sum(each.online for each in seen) == 3, 10)
    rollout = service.start_rollout(spec(bundle, ["pi-1", "pi-2", "pi-3"]))
    wait_until(lambda: state_of(service, rollout) == "rolled_back", what="rolled back")
    assert sum(bool([each for each in fake.desired if each.action == "run"]) for fake in fakes) == 1
    with service.store.read() as session:
        failed = [each for each in rollouts.devices(session, rollout) if each.outcome == "failed"]
        assert [each.reason for each in failed] == ["golden_mismatch"]


def test_chunks_go_out_once_for_all_who_ask_at_once(
    service: Service, device: Callable[..., FakeDevice], workspace: Workspace
) -> None:
    bundle = add_bundle(workspace, "big", size_bytes=1_500_000)
    index = service.artifacts.index(bundle.digest)
    wanted = {chunk.id for chunk in index.chunks} | set(bundle.ref.index)
    fakes = [device(f"pi-{number}") for number in (1, 2, 3)]
    service.wait_for_devices(FLEET, lambda seen: sum(each.online for each in seen) == 3, 10)
    for fake in fakes:
        fake.fetch(bundle.ref, index)
    for fake in fakes:
        assert fake.wait(lambda it: wanted <= set(it.chunks)), f"{fake.device}: {len(fake.chunks)} of {len(wanted)}"
    upload = sum(len(content) for content in fakes[0].chunks.values())
    assert service.published_bytes[bundle.digest] == upload


@pytest.mark.usefixtures("service")
def test_no_broker_and_a_second_leader_are_named(workspace: Workspace, broker: EmbeddedBroker) -> None:
    with pytest.raises(Busy, match="led by"):
        Service(workspace, BrokerSettings(port=broker.port), [FLEET]).start()
    other = make_workspace(workspace.root.parent / "other")
    unreachable = Service(other, BrokerSettings(port=1), [FLEET])
    with pytest.raises(BrokerUnreachable, match=r"127\.0\.0\.1:1 .*controller broker run"):
        unreachable.start()
    unreachable.stop()


@pytest.mark.long
def test_what_a_restarted_broker_lost_is_published_again(
    service: Service, device: Callable[..., FakeDevice], workspace: Workspace, broker: EmbeddedBroker
) -> None:
    bundle = add_bundle(workspace, "int8")
    device("pi-1")
    service.wait_for_devices(FLEET, lambda seen: any(each.online for each in seen), 10)
    rollout = service.start_rollout(spec(bundle, ["pi-1", "pi-off"]))
    wait_until(lambda: state_of(service, rollout).startswith("completed"), 60, what="completed with a straggler")
    with service.store.read() as session:
        gen = desired.get(session, FLEET, "pi-off", "main")
    assert gen is not None
    broker.restart()
    wait_until(lambda: service.connected, what="reconnected")
    late = device("pi-off")
    assert late.wait(lambda it: it.desired and it.active == bundle.digest, 30), "the retained document came back"
    assert late.desired[0].gen == gen.gen


def test_a_device_that_asks_gets_its_documents_again(
    service: Service, device: Callable[..., FakeDevice], workspace: Workspace
) -> None:
    bundle = add_bundle(workspace, "int8")
    fake = device("pi-1")
    rollout = service.start_rollout(spec(bundle, ["pi-1"]))
    wait_until(lambda: state_of(service, rollout) == "completed", what="rollout completed")
    seen = len(fake.desired)
    fake.sync()
    assert fake.wait(lambda it: len(it.desired) > seen)
    assert fake.desired[-1].gen == fake.desired[0].gen


def test_reports_under_a_false_name_and_nonsense_change_nothing(
    service: Service, device: Callable[..., FakeDevice]
) -> None:
    honest, liar = device("pi-1"), device("pi-2")
    service.wait_for_devices(FLEET, lambda seen: sum("main" in each.workloads for each in seen) == 2, 10)
    assert honest.last_reported is not None
    forged = honest.last_reported.model_copy(update={"gen": 99, "seq": 999, "active": "f" * 64})
    liar.send(liar.topics.reported("pi-2", "main"), forged)
    liar.send(liar.topics.event("pi-2"), forged)
    assert liar._client is not None
    liar._client.publish(liar.topics.metrics("pi-2"), b"\xff not json", qos=1)
    liar._client.publish(f"{liar.topics.presence('pi-2')[: -len('/presence')]}/trial/t-1", b"{}", qos=1)
    wait_until(lambda: service.counts["trial.malformed"] == 1, what="the last of them was read")
    assert service.counts["reported.malformed"] == 1
    assert service.counts["event.malformed"] == 1
    assert service.counts["metrics.malformed"] == 1
    assert [each.workload("main").gen for each in service.devices(FLEET)] == [0, 0]


def test_a_report_delivered_twice_counts_once(service: Service, device: Callable[..., FakeDevice]) -> None:
    fake = device("pi-1")
    service.wait_for_devices(FLEET, lambda seen: any("main" in each.workloads for each in seen), 10)
    last = fake.report(State.IDLE)
    fake.send(fake.topics.reported("pi-1", "main"), last)
    wait_until(lambda: service.counts["reported.duplicate"] >= 1, what="the copy was recognised")
    older = last.model_copy(update={"seq": last.seq - 1, "active": "a" * 64})
    fake.send(fake.topics.reported("pi-1", "main"), older)
    wait_until(lambda: service.counts["reported.duplicate"] >= 2, what="the older one was recognised")
    assert service.devices(FLEET)[0].workload("main").active is None
    assert service.devices(FLEET)[0].workload("main").reported == last
