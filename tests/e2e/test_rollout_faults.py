"""Rollouts that meet trouble: devices that are off, bundles that are bad, a controller that is killed."""

import os
import signal

import pytest

from controller.rollout.policy import Wave
from controller.rollout.view import Phase
from tests.e2e.bundles import Bundles
from tests.e2e.world import AgentProcess, ServeProcess, World, quick_policy
from wire.device_state import FAILURES, State

pytestmark = pytest.mark.e2e

CANARY_FIRST = (Wave(devices=1), Wave(ratio=1.0))


@pytest.mark.long
def test_a_device_that_was_off_during_the_whole_rollout_converges(world: World, bundles: Bundles) -> None:
    world.agent("barn-1")
    late = world.agent("barn-2")
    service = world.service()
    first = world.rollout(service, bundles.good(world.artifacts, "first"), ["barn-1", "barn-2"])
    world.phase(service, first, Phase.COMPLETED)
    late.kill()
    world.watcher.wait("barn-2 to be offline", lambda: world.watcher.presence["barn-2"] is False)
    bundle = bundles.good(world.artifacts, "second")
    second = world.rollout(service, bundle, ["barn-1", "barn-2"], policy=quick_policy(deadline_s=8.0))
    world.phase(service, second, Phase.COMPLETED_WITH_STRAGGLERS)
    gen = world.watcher.last("barn-1").gen
    late.start()
    ended = world.watcher.ended("barn-2", gen)
    assert (ended.state, ended.active) == (State.COMMITTED, bundle)


@pytest.mark.long
def test_wrong_golden_outputs_are_unfit_and_stop_the_rollout(world: World, bundles: Bundles) -> None:
    devices = ["barn-1", "barn-2", "barn-3"]
    for device in devices:
        world.agent(device)
    service = world.service()
    good = bundles.good(world.artifacts, "first")
    world.phase(service, world.rollout(service, good, devices), Phase.COMPLETED)
    bad = bundles.wrong_golden(world.artifacts, "lies")
    rollout = world.rollout(service, bad, devices, policy=quick_policy(*CANARY_FIRST))
    world.phase(service, rollout, Phase.ROLLED_BACK)
    unfit = [report for report in world.watcher.reports if report.desired == bad and report.state is State.UNFIT]
    assert len({report.device for report in unfit}) == 1  # the canary, and nobody else
    assert unfit[0].error is not None
    assert unfit[0].error.code == "golden_mismatch"
    assert {world.watcher.last(device).active for device in devices} == {good}
    assert not any(report.active == bad for report in world.watcher.reports)


def test_a_missing_engine_is_incompatible_and_does_not_count(world: World, bundles: Bundles) -> None:
    world.agent("barn-1")
    service = world.service()
    rollout = world.rollout(service, bundles.for_engine(world.artifacts, "needs-tensorrt", "tensorrt"), ["barn-1"])
    ended = world.watcher.ended("barn-1", 1)
    assert ended.state is State.INCOMPATIBLE
    assert ended.error is not None
    assert ended.error.code == "engine_missing"
    ended_as = world.phase(service, rollout, Phase.COMPLETED, Phase.COMPLETED_WITH_STRAGGLERS, Phase.ROLLED_BACK)
    assert ended_as is not Phase.ROLLED_BACK
    assert not any(report.state in FAILURES for report in world.watcher.reports)


@pytest.mark.long
def test_a_bundle_that_crashes_while_serving_is_rolled_back_and_the_rollout_stops(
    world: World, bundles: Bundles
) -> None:
    devices = ["barn-1", "barn-2"]
    agents = {device: world.agent(device) for device in devices}
    service = world.service()
    good = bundles.good(world.artifacts, "first")
    world.phase(service, world.rollout(service, good, devices), Phase.COMPLETED)
    gens = {device: world.watcher.last(device).gen for device in devices}
    bad = bundles.good(world.artifacts, "crashes-later")
    rollout = world.rollout(service, bad, devices, policy=quick_policy(*CANARY_FIRST, probation_s=30.0))
    canary = world.watcher.wait("a canary in probation", lambda: _in_probation(world, gens))
    world.kill_serving_worker(agents[canary])
    ended = world.watcher.ended(canary, gens[canary] + 1)
    assert ended.state is State.ROLLED_BACK
    assert ended.active == good
    assert bad in ended.quarantined
    world.phase(service, rollout, Phase.ROLLED_BACK)
    other = next(device for device in devices if device != canary)
    assert not any(report.desired == bad for report in world.watcher.of(other))
    again = world.rollout(service, bad, [canary])
    refused = world.watcher.state(canary, State.FAILED, gen=ended.gen + 1)
    assert refused.error is not None
    assert refused.error.code == "quarantined"
    world.phase(service, again, Phase.ROLLED_BACK)
    retried = world.rollout(service, bad, [canary], nonce="the-operator-insists")
    assert world.phase(service, retried, Phase.COMPLETED) is Phase.COMPLETED
    assert world.watcher.last(canary).active == bad


@pytest.mark.long
def test_two_workloads_one_rolled_back_the_other_untouched(world: World, bundles: Bundles) -> None:
    agent = world.agent("barn-1")
    service = world.service()
    main, soil = bundles.good(world.artifacts, "main-first"), bundles.good(world.artifacts, "soil-first")
    world.phase(service, world.rollout(service, main, ["barn-1"]), Phase.COMPLETED)
    world.phase(service, world.rollout(service, soil, ["barn-1"], workload="soil"), Phase.COMPLETED)
    untouched = world.watcher.last("barn-1", "soil")
    worker = set(world.serving_workers(agent)) - {_worker_of(world, agent, main)}
    bad = bundles.good(world.artifacts, "main-crashes")
    rollout = world.rollout(service, bad, ["barn-1"], policy=quick_policy(probation_s=30.0))
    world.watcher.state("barn-1", State.PROBATION, gen=2)
    os.kill(_worker_of(world, agent, bad), signal.SIGKILL)
    assert world.watcher.ended("barn-1", 2).state is State.ROLLED_BACK
    world.phase(service, rollout, Phase.ROLLED_BACK)
    assert world.watcher.last("barn-1").active == main
    soil_now = world.watcher.last("barn-1", "soil")
    assert (soil_now.gen, soil_now.state, soil_now.active) == (untouched.gen, State.COMMITTED, soil)
    assert worker <= set(world.serving_workers(agent))  # the very same process went on serving


@pytest.mark.long
def test_a_controller_killed_in_the_middle_of_a_wave_goes_on(world: World, bundles: Bundles) -> None:
    devices = ["barn-1", "barn-2", "barn-3"]
    for device in devices:
        world.agent(device)
    service = world.service()
    bundle = bundles.good(world.artifacts, "first", padding_bytes=4_000_000)
    policy = quick_policy(Wave(devices=1), Wave(devices=2), Wave(ratio=1.0), soak_s=2.0)
    rollout = world.rollout(service, bundle, devices, policy=policy)
    service.stop()
    controller = ServeProcess(world)
    try:
        world.watcher.wait("the canary to commit", lambda: len(_committed(world, bundle)) == 1)
        world.watcher.wait("the second wave", lambda: len({r.device for r in world.watcher.reports if r.gen}) == 2)
        controller.kill()
        controller = ServeProcess(world)
        world.watcher.wait("all to commit", lambda: len(_committed(world, bundle)) == 3)
        world.phase_from_disk(rollout, Phase.COMPLETED)
    finally:
        controller.kill()
    for device in devices:
        assert {report.gen for report in world.watcher.of(device) if report.gen} == {1}  # nothing was offered twice


def _in_probation(world: World, gens: dict[str, int]) -> str | None:
    found = (
        report.device
        for report in world.watcher.reports
        if report.state is State.PROBATION and report.gen > gens[report.device]
    )
    return next(found, None)


def _committed(world: World, bundle: str) -> set[str]:
    return {r.device for r in world.watcher.reports if r.state is State.COMMITTED and r.active == bundle}


def _worker_of(world: World, agent: AgentProcess, bundle: str) -> int:
    """Return the process id of the serving worker whose order names the bundle."""
    worker = world.watcher.wait(f"a worker that serves {bundle[:12]}", lambda: agent.worker_of(bundle))
    return int(worker.pid)
