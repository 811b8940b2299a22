"""Documents that a device must refuse: it says why, and nothing changes."""

import time
from functools import partial
from pathlib import Path

import pytest

from controller.keys import create_key
from tests.e2e.bundles import Bundles
from tests.e2e.watcher import FLEET
from tests.e2e.world import World
from wire.base import encode
from wire.device_state import State
from wire.envelope import seal
from wire.topics import Topics
from wire.update import Desired

pytestmark = pytest.mark.e2e


@pytest.fixture
def settled(world: World, bundles: Bundles) -> tuple[World, str, str]:
    """A world whose device runs a first bundle in generation 5; returns also a second bundle."""
    world.agent("barn-1")
    world.service()  # serves chunks
    good = bundles.good(world.artifacts, "first")
    world.send(world.desired("barn-1", good, 5, epoch=3))
    assert world.watcher.ended("barn-1", 5).state is State.COMMITTED
    return world, good, bundles.good(world.artifacts, "second")


def refused(world: World, reason: str) -> None:
    world.watcher.wait(f"a refusal: {reason}", lambda: reason in world.watcher.refusals("barn-1"))


def test_unsigned_forged_old_and_foreign_documents_are_refused(settled: tuple[World, str, str], tmp_path: Path) -> None:
    world, good, other = settled
    topics = Topics(FLEET)
    mine = topics.desired("barn-1", "main")

    unsigned = world.desired("barn-1", other, 6)
    world.watcher.publish(mine, encode(unsigned), retain=True)
    refused(world, "malformed_message")

    stranger = create_key(tmp_path / "stranger")
    world.send(unsigned, key=stranger)
    refused(world, "bad_signature")

    borrowed = seal("desired", unsigned, world.key.key_id, stranger.sign)  # our key's name, another's signature
    world.watcher.publish(mine, encode(borrowed), retain=True)
    world.watcher.wait("a second refusal", lambda: world.watcher.refusals("barn-1").count("bad_signature") >= 2)

    world.send(world.desired("barn-1", other, 4, epoch=3))
    refused(world, "old_generation")
    world.send(world.desired("barn-1", other, 6, epoch=2))
    refused(world, "old_epoch")
    world.send(world.desired("barn-2", other, 6, epoch=3), topic=mine)
    refused(world, "not_for_us")
    for changes in ({"workload": "soil"}, {"fleet": "other-fleet"}):
        seen = world.watcher.refusals("barn-1").count("not_for_us")
        document = Desired(**{**world.desired("barn-1", other, 6, epoch=3).model_dump(), **changes})
        world.send(document, topic=mine)
        world.watcher.wait(
            f"a refusal of {changes}",
            partial(lambda seen: world.watcher.refusals("barn-1").count("not_for_us") > seen, seen),
        )
    world.send(world.desired("barn-1", other, 6, epoch=3, issued_s=time.time() - 90, expires_s=time.time() - 60))
    refused(world, "expired")

    last = world.watcher.last("barn-1")
    assert (last.gen, last.state, last.active) == (5, State.COMMITTED, good)
    assert not any(report.desired == other for report in world.watcher.of("barn-1"))
