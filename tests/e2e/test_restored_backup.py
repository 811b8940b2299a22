"""A week-old database restored over a newer fleet: the fleet stays steerable, and nothing is downgraded."""

from pathlib import Path

import pytest

from controller.cli.archive import back_up, restore
from controller.rollout.view import Phase
from tests.e2e.bundles import Bundles
from tests.e2e.world import World
from wire.device_state import State

pytestmark = [pytest.mark.e2e, pytest.mark.long]


def test_an_old_backup_adopts_the_newer_fleet(world: World, bundles: Bundles, tmp_path: Path) -> None:
    devices = ["barn-1", "barn-2"]
    for device in devices:
        world.agent(device)
    service = world.service()
    old = bundles.good(world.artifacts, "old")
    world.phase(service, world.rollout(service, old, devices), Phase.COMPLETED)
    service.stop()
    archive = tmp_path / "week-old.tar.gz"
    back_up(world.workspace, archive)

    service = world.service()
    for name in ("newer", "newest"):
        newest = bundles.good(world.artifacts, name)
        world.phase(service, world.rollout(service, newest, devices), Phase.COMPLETED)
    gens = {device: world.watcher.last(device).gen for device in devices}
    service.stop()

    restore(world.workspace, archive, replace=True)
    service = world.service()
    seen = len(world.watcher.reports)
    view = {view.device: view.workload("main") for view in service.devices(world.fleet)}
    assert {device: view[device].active for device in devices} == dict.fromkeys(devices, newest)
    assert not any(report.active == old for report in world.watcher.reports[seen:])

    after = bundles.good(world.artifacts, "after")
    world.phase(service, world.rollout(service, after, devices), Phase.COMPLETED)
    for device in devices:
        last = world.watcher.last(device)
        assert (last.state, last.active) == (State.COMMITTED, after)
        assert last.gen > gens[device]
    assert not any(report.active == old for report in world.watcher.reports[seen:])
