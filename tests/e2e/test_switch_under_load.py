"""A rollout under 200 queries a second over the Unix socket: every query is answered, with two workers and with one."""

import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.load.client import Application, Asked, Order
from controller.rollout.view import Phase
from tests.e2e.bundles import Bundles
from tests.e2e.world import World

pytestmark = pytest.mark.e2e

RATE_HZ = 200.0
CONNECTIONS = 16
MORE_THAN_THERE_IS = {"memory_cap_bytes": 2**50}
"""A cap at which no device has room for two workers."""


@pytest.mark.parametrize(
    ("settings", "event"),
    [({}, "overlap"), pytest.param(MORE_THAN_THERE_IS, "stop_then_start", marks=pytest.mark.long)],
)
def test_a_switch_under_200_queries_a_second_loses_none(
    world: World, bundles: Bundles, tmp_path: Path, settings: dict[str, Any], event: str
) -> None:
    first, second = (bundles.good(world.artifacts, name) for name in ("first", "second"))
    query = tmp_path / "query.json"
    query.write_text(f'{{"query": {np.zeros((1, 427)).tolist()}}}')
    with tempfile.TemporaryDirectory() as folder:  # short: a socket's path may have 107 bytes
        socket = Path(folder) / "s"
        world.agent("pi-1", serve=serving(socket), **settings)
        service = world.service()
        world.phase(service, world.rollout(service, first, ["pi-1"]), Phase.COMPLETED)
        with asking(socket, query) as application:
            world.watcher.wait("answers of the first bundle", lambda: len(application.asked) > RATE_HZ)
            world.phase(service, world.rollout(service, second, ["pi-1"]), Phase.COMPLETED)
            asked = application.asked
    assert {each.status for each in asked} == {200}, [each for each in asked if each.status != 200][:3]
    assert {each.said for each in asked} == {first, second}
    assert by_answer(asked)[-1].said == second
    assert event in {told.reason for told in world.watcher.events}


def serving(socket: Path) -> dict[str, Any]:
    """Return settings under which a query waits through a switch, however slow this machine is at the moment."""
    waits = {"queue": {"policy": "queue", "size": 10_000}, "timeout_s": 60.0}
    return {"socket": str(socket), "workloads": {"main": {"source": {"kind": "none"}, **waits}}}


@contextmanager
def asking(socket: Path, query: Path) -> Iterator[Application]:
    """Ask until the block ends, and then until the last answer is there."""
    order = Order(
        socket=str(socket),
        target="/v1/workloads/main/predict",
        content_type="application/json",
        body_path=str(query),
        result_path="",
        rate_hz=RATE_HZ,
        seconds=3600,
        connections=CONNECTIONS,
    )
    application = Application(order)
    thread = threading.Thread(target=application.run)
    thread.start()
    try:
        yield application
    finally:
        application.stop()
        thread.join(60)
        assert not thread.is_alive()


def by_answer(asked: list[Asked]) -> list[Asked]:
    """Return queries in the order of their answers."""
    return sorted(asked, key=lambda each: each.due_s + each.latency_s)
