"""An agent is killed in each state of its machine, and the fleet still ends where it should."""

from functools import partial

import pytest

from controller.rollout.view import Phase
from tests.e2e.bundles import Bundles
from tests.e2e.world import World, quick_policy
from wire.device_state import State

pytestmark = pytest.mark.e2e

ATTEMPTS = 8
RESUMES = [
    State.CHECK,
    State.WAIT,
    State.DOWNLOAD,
    State.VERIFY,
    State.STAGED,
    State.SELFTEST,
    State.SWITCH,
    State.PROBATION,
]
ALWAYS = (State.SWITCH, State.PROBATION)
"""Killed there in every run of the tests; in the others in the long ones."""


@pytest.mark.parametrize(
    "state",
    [state if state in ALWAYS else pytest.param(state, marks=pytest.mark.long) for state in RESUMES],
    ids=lambda state: state.value,
)
def test_killed_in_a_state_it_goes_on_and_commits(world: World, bundles: Bundles, state: State) -> None:
    agent = world.agent("barn-1")
    service = world.service()
    first = world.rollout(service, bundles.good(world.artifacts, "first"), ["barn-1"])
    world.phase(service, first, Phase.COMPLETED)
    for attempt in range(ATTEMPTS):
        old = world.watcher.last("barn-1")
        bundle = bundles.good(world.artifacts, f"next-{attempt}", padding_bytes=2_000_000)
        rollout = world.rollout(service, bundle, ["barn-1"])
        hit = agent.kill_in(state, old.gen + 1)
        agent.ensure_started()
        ended = world.watcher.ended("barn-1", old.gen + 1)
        assert (ended.state, ended.active, ended.previous) == (State.COMMITTED, bundle, old.active)
        assert world.phase(service, rollout, Phase.COMPLETED) is Phase.COMPLETED
        if hit:
            return
    pytest.fail(f"{state.value} was over before the signal came, {ATTEMPTS} times")


@pytest.mark.long
def test_killed_while_rolling_back_it_still_rolls_back(world: World, bundles: Bundles) -> None:
    agent = world.agent("barn-1")
    service = world.service()
    first = world.rollout(service, bundles.good(world.artifacts, "first"), ["barn-1"])
    world.phase(service, first, Phase.COMPLETED)
    for attempt in range(ATTEMPTS):
        old = world.watcher.last("barn-1")
        bundle = bundles.good(world.artifacts, f"next-{attempt}")
        rollout = world.rollout(service, bundle, ["barn-1"], policy=quick_policy(probation_s=30.0))
        world.watcher.state("barn-1", State.PROBATION, gen=old.gen + 1)
        world.kill_serving_worker(agent)
        hit = agent.kill_in(State.ROLLBACK, old.gen + 1)
        agent.ensure_started()
        ended = world.watcher.ended("barn-1", old.gen + 1)
        assert (ended.state, ended.active) == (State.ROLLED_BACK, old.active)
        assert bundle in ended.quarantined
        assert world.phase(service, rollout, Phase.ROLLED_BACK) is Phase.ROLLED_BACK
        if hit:
            return
    pytest.fail(f"the rollback was over before the signal came, {ATTEMPTS} times")


def test_a_selftest_that_kills_the_agent_twice_is_unfit_and_does_not_loop(world: World, bundles: Bundles) -> None:
    agent = world.agent("barn-1")
    service = world.service()
    bundle = bundles.slow_to_test(world.artifacts, "browns-out")
    rollout = world.rollout(service, bundle, ["barn-1"])
    for tries in (1, 2):
        world.watcher.wait(f"self-test {tries}", partial(selftests, world, tries))
        agent.kill()
        agent.start()
    ended = world.watcher.ended("barn-1", 1)
    assert ended.state is State.UNFIT
    assert ended.error is not None
    assert ended.error.code == "selftest_killed"
    assert world.phase(service, rollout, Phase.ROLLED_BACK) == Phase.ROLLED_BACK
    # Nothing ran before, so rolling back is removing; above all, the self-test is not tried a third time.
    assert world.watcher.state("barn-1", State.REMOVED, gen=2).active is None
    agent.kill()
    agent.start()
    world.online("barn-1")
    assert world.watcher.last("barn-1").state is State.REMOVED
    assert not selftests(world, 3)


def selftests(world: World, at_least: int) -> bool:
    """Whether the self-test was begun in so many lives of the agent; within one, a report may come twice."""
    return len({each.boot_id for each in world.watcher.of("barn-1") if each.state is State.SELFTEST}) >= at_least
