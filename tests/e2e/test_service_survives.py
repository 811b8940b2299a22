"""The controller's service over its own death, and over a database that is older than the fleet."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from controller.broker.embedded import EmbeddedBroker
from controller.keys import load_key
from controller.mqtt import BrokerSettings
from controller.service import Service
from controller.store import audit, deployments, desired, rollouts
from controller.workspace import Workspace
from tests.e2e.fake_device import GOOD, STUCK, FakeDevice
from tests.e2e.service_kit import FLEET, add_bundle, add_deployment, make_workspace, spec, wait_until
from wire.device_state import State

pytestmark = pytest.mark.e2e

DEVICES = ["pi-1", "pi-2", "pi-3"]


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker(folder=tmp_path / "broker") as running:
        yield running


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return make_workspace(tmp_path / "workspace")


@pytest.fixture
def device(workspace: Workspace, broker: EmbeddedBroker) -> Iterator[Callable[..., FakeDevice]]:
    made: list[FakeDevice] = []
    trusted = load_key(workspace.keys).trusted_keys

    def make(name: str, **options: object) -> FakeDevice:
        made.append(FakeDevice(broker.port, name, trusted, **options).start())  # type: ignore[arg-type]
        return made[-1]

    yield make
    for each in made:
        each.stop()


def lead(workspace: Workspace, broker: EmbeddedBroker) -> Service:
    return Service(workspace, BrokerSettings(port=broker.port), [FLEET])


def roll_out(service: Service, bundle: object, devices: list[str] = DEVICES) -> str:
    rollout = service.start_rollout(spec(bundle, devices))  # type: ignore[arg-type]
    wait_until(lambda: state_of(service, rollout) == "completed", what="rollout completed")
    return rollout


def state_of(service: Service, rollout: str) -> str:
    with service.store.read() as session:
        return rollouts.get(session, rollout).state


def test_a_leader_killed_in_the_middle_of_a_wave_is_carried_on(
    workspace: Workspace, broker: EmbeddedBroker, device: Callable[..., FakeDevice]
) -> None:
    bundle = add_bundle(workspace, "int8")
    fakes = [device(name, script=lambda _: STUCK) for name in DEVICES]
    command = [sys.executable, "-m", "tests.e2e.service_child", str(workspace.root), str(broker.port), bundle.digest]
    child = subprocess.Popen(
        [*command, *DEVICES], stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": "."}
    )
    assert child.stdout is not None
    try:
        rollout = child.stdout.readline().strip()
        wait_until(lambda: any(fake.desired for fake in fakes), what="the canary was asked")
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
    canary = next(fake for fake in fakes if fake.desired)
    for fake in fakes:
        fake.script = lambda _: GOOD
    canary.active = bundle.digest
    canary.report(State.COMMITTED)  # while nobody leads
    with lead(workspace, broker) as service:
        wait_until(lambda: state_of(service, rollout) == "completed", what="the rollout went on and completed")
        assert [fake.active for fake in fakes] == [bundle.digest] * 3
        assert {document.gen for document in canary.desired} == {1}, "the canary was not asked anew"
        with service.store.read() as session:
            assert audit.verify(session).holds


@pytest.mark.parametrize("broker_lost_all", [pytest.param(False, marks=pytest.mark.long), True])
def test_an_old_database_over_a_newer_fleet_downgrades_nothing_and_commands_it(
    workspace: Workspace, broker: EmbeddedBroker, device: Callable[..., FakeDevice], broker_lost_all: bool
) -> None:
    first, second, third, fourth = (add_bundle(workspace, name) for name in ("v1", "v2", "v3", "v4"))
    fakes = [device(name) for name in DEVICES]
    old = workspace.root.parent / "old.db"
    with lead(workspace, broker) as service:
        roll_out(service, first)
        waiting = service.start_rollout(spec(second, DEVICES, approval="first_wave"))
        deployment = add_deployment(service.store)
        wait_until(lambda: state_of(service, waiting) == "approval", what="waits for approval")
    shutil.copy(workspace.database_path, old)
    with lead(workspace, broker) as service:
        roll_out(service, second)
        roll_out(service, third)
    gens, asked = [fake.gen for fake in fakes], [len(fake.desired) for fake in fakes]

    for each in workspace.root.glob("thresher.db*"):
        each.unlink()
    shutil.copy(old, workspace.database_path)
    if broker_lost_all:
        broker.restart()
    with lead(workspace, broker) as service:
        wait_until(lambda: _gens(service) == gens, what="the fleet's generations were adopted")
        assert state_of(service, waiting) == "superseded"
        with service.store.read() as session:
            assert deployments.get(session, deployment).stage == "failed"
        assert [fake.active for fake in fakes] == [third.digest] * 3
        fresh = [document for fake, seen in zip(fakes, asked, strict=True) for document in fake.desired[seen:]]
        assert all(document.bundle is not None and document.bundle.digest == third.digest for document in fresh)
        roll_out(service, fourth)
        assert [fake.active for fake in fakes] == [fourth.digest] * 3
        assert [fake.gen for fake in fakes] == [gen + 1 for gen in gens]
        assert "old" not in [word for fake, seen in zip(fakes, asked, strict=True) for word in fake.refused[seen:]]


def _gens(service: Service) -> list[int]:
    with service.store.read() as session:
        rows = {row.device: row.gen for row in desired.in_fleet(session, FLEET)}
    return [rows.get(name, 0) for name in DEVICES]
