"""The network misbehaves: a broker restarts, chunks are damaged, messages come twice, a disk is full."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.rollout.view import Phase
from tests.e2e.bundles import Bundles
from tests.e2e.world import World
from wire.base import encode
from wire.device_state import State
from wire.topics import Topics

pytestmark = pytest.mark.e2e


@pytest.mark.long
def test_the_broker_restarts_in_the_middle_of_a_download(world: World, bundles: Bundles) -> None:
    agent = world.agent("barn-1")
    service = world.service()
    bundle = bundles.good(world.artifacts, "first", padding_bytes=40_000_000)
    rollout = world.rollout(service, bundle, ["barn-1"])
    world.watcher.wait("chunks to be published", lambda: service.published_chunks.get(bundle, 0) > 20)
    world.broker.kill()
    assert world.watcher.last("barn-1").state is State.DOWNLOAD
    assert not (agent.state_dir / "artifacts" / bundle).exists()
    world.broker.start()
    ended = world.watcher.ended("barn-1", 1)
    assert (ended.state, ended.active) == (State.COMMITTED, bundle)
    assert world.phase(service, rollout, Phase.COMPLETED) is Phase.COMPLETED
    whole = world.artifacts.ref(bundle).wire_bytes
    assert service.published_bytes[bundle] < 1.5 * whole  # it went on, it did not begin again


def test_a_damaged_chunk_is_refused_and_asked_for_again(world: World, bundles: Bundles) -> None:
    agent = world.agent("barn-1")
    service = world.service()
    bundle = bundles.good(world.artifacts, "first")
    index = world.artifacts.index(bundle)
    chunk = world.artifacts.folder(bundle) / "chunks" / index.chunks[len(index.chunks) // 2].id
    sound = chunk.read_bytes()
    chunk.write_bytes(bytes([sound[0] ^ 0xFF]) + sound[1:])
    rollout = world.rollout(service, bundle, ["barn-1"])
    world.watcher.state("barn-1", State.DOWNLOAD, gen=1)
    world.watcher.wait("the device to refuse the chunk", lambda: "damaged" in agent.log())
    assert world.watcher.last("barn-1").state is State.DOWNLOAD
    assert not (agent.state_dir / "artifacts" / bundle).exists()
    chunk.write_bytes(sound)
    ended = world.watcher.ended("barn-1", 1)
    assert (ended.state, ended.active) == (State.COMMITTED, bundle)
    world.phase(service, rollout, Phase.COMPLETED)
    model = (agent.state_dir / "artifacts" / bundle / "model.onnx").read_bytes()
    assert model == (world.artifacts.folder(bundle) / "model.onnx").read_bytes()


def test_messages_delivered_twice_change_nothing(world: World, bundles: Bundles) -> None:
    world.agent("barn-1")
    service = world.service()
    bundle = bundles.good(world.artifacts, "first")
    service_view = world.rollout(service, bundle, ["barn-1"])
    ended = world.watcher.ended("barn-1", 1)
    world.phase(service, service_view, Phase.COMPLETED)
    entries = [(report.state, report.attempt) for report in world.watcher.of("barn-1") if report.gen == 1]
    with service.store.read() as session:
        from controller.store import desired

        row = next(iter(desired.in_fleet(session, world.fleet)))
        envelope = row.envelope
    topics = Topics(world.fleet)
    for _ in range(3):  # to the device: the same signed document; to the controller: an early report, once more
        world.watcher.publish(topics.desired("barn-1", "main"), envelope.encode(), retain=True)
        early = next(report for report in world.watcher.of("barn-1") if report.state is State.DOWNLOAD)
        world.watcher.publish(topics.reported("barn-1", "main"), encode(early))
    world.watcher.wait("an answer", lambda: any(report.seq > ended.seq for report in world.watcher.of("barn-1")))
    assert {report.state for report in world.watcher.of("barn-1") if report.seq > ended.seq} == {State.COMMITTED}
    assert len([entry for entry in entries if entry[0] is State.SELFTEST]) == 1
    view = next(view for view in service.devices(world.fleet) if view.device == "barn-1")
    assert (view.workload("main").state, view.workload("main").active) == (State.COMMITTED, bundle)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 MiB; only root can make one."""
    folder = tmp_path / "small-disk"
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(folder)], check=False, capture_output=True
    )
    if made.returncode != 0:
        pytest.skip("needs the right to mount a tmpfs: the device's full disk is not tested here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_is_said_and_harms_nothing(world: World, bundles: Bundles, small_disk: Path) -> None:
    agent = world.agent("barn-1", start=False)
    state = small_disk / "state"
    state.mkdir()
    agent.state_dir.symlink_to(state)
    agent.start()
    world.online("barn-1")
    service = world.service()
    good = bundles.good(world.artifacts, "first")
    world.phase(service, world.rollout(service, good, ["barn-1"]), Phase.COMPLETED)
    large = bundles.good(world.artifacts, "large", padding_bytes=30_000_000)
    world.rollout(service, large, ["barn-1"])
    ended = world.watcher.ended("barn-1", 2)
    assert ended.state is State.INCOMPATIBLE
    assert ended.error is not None
    assert ended.error.code == "disk_full"
    assert "free" in ended.error.detail
    assert ended.active == good
