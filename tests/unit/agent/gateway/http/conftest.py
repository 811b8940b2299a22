"""A front for one module's tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.agent.gateway.http.documented import undocumented
from tests.unit.agent.gateway.http.http_kit import ANSWERED, Served, serving


@pytest.fixture(scope="module")
def shared_front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("front"), largest_bytes=64 * 1024) as served:
        yield served


@pytest.fixture
def served(shared_front: Served) -> Iterator[Served]:
    """A front on a Unix socket whose lanes answer. Whatever it answers must be as its description says."""
    for lane in shared_front.lanes.values():
        lane.outcome, lane.ready, lane.fault = ANSWERED, True, None
        lane.asked.clear()
        lane.futures.clear()
    shared_front.seen.clear()
    yield shared_front
    assert [fault for seen in shared_front.seen for fault in undocumented(*seen)] == []


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path
