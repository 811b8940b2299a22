"""Opt-in capture through real processes: queries of a device come to the controller, and leave the device."""

from pathlib import Path

import numpy as np
import pytest

from controller.fleet.sample_arrays import export
from controller.fleet.samples import SampleFolder
from controller.rollout.view import Phase
from tests.e2e.bundles import Bundles
from tests.e2e.world import World

pytestmark = pytest.mark.e2e

MOST = 3


def test_captured_queries_come_whole_and_are_deleted_on_the_device(
    world: World, bundles: Bundles, tmp_path: Path
) -> None:
    served = {"source": {"kind": "replay", "rate_hz": 20.0}, "capture": {"ratio": 1.0, "most_each_day": MOST}}
    captured = world.agent("barn-1", serve={"workloads": {"main": served}})
    plain = world.agent("barn-2")
    service = world.service()
    bundle = bundles.good(world.artifacts, "first")
    world.phase(service, world.rollout(service, bundle, ["barn-1", "barn-2"]), Phase.COMPLETED)

    kept = SampleFolder(world.workspace.samples).kept
    on_devices = [agent.state_dir / "gateway" / "main" / "capture" for agent in (captured, plain)]
    world.watcher.wait("the samples", lambda: len(kept()) == MOST)
    world.watcher.wait("the device to forget them", lambda: not list(on_devices[0].glob("*.sample")))
    assert not on_devices[1].exists(), "nothing is captured where nobody asked for it"
    assert {(each.fleet, each.workload, each.device) for each in kept()} == {(world.fleet, "main", "barn-1")}

    export(kept(), tmp_path / "out.npz")
    with np.load(tmp_path / "out.npz") as arrays:
        asked = np.load(world.artifacts.folder(bundle) / "golden" / "inputs.npy")
        assert all(any(np.array_equal(row, known) for known in asked) for row in arrays["x"])
        assert ((arrays["confidence"] > 0) & (arrays["confidence"] <= 1)).all()
