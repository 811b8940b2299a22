"""The store on a disk that fails, is full or slow."""

import asyncio
import errno
import threading
from pathlib import Path

import pytest

from agent.gateway.store.segments import Segment, SegmentFolder
from agent.gateway.store.store import MOST_MEMORY_BYTES, RETRY_S
from agent.serve.settings import KIB
from tests.unit.agent.gateway.sinks.sink_kit import prediction, until
from tests.unit.agent.gateway.store.store_kit import Stage


class WornFolder(SegmentFolder):
    """A disk that takes `good` lines of the next write, then refuses until it is repaired."""

    good: int | None = None
    fault = errno.EROFS

    def _append(self, number: int, line: bytes) -> Segment:
        if self.good is not None:
            if self.good == 0:
                raise OSError(self.fault, "worn")
            type(self).good = self.good - 1
        return super()._append(number, line)


@pytest.fixture
def worn(monkeypatch: pytest.MonkeyPatch) -> type[WornFolder]:
    monkeypatch.setattr("agent.gateway.store.store.SegmentFolder", WornFolder)
    monkeypatch.setattr(WornFolder, "good", None)
    monkeypatch.setattr(WornFolder, "fault", errno.EROFS)
    return WornFolder


@pytest.mark.parametrize("good", [0, 1, 60, 90])
def test_a_write_that_fails_loses_nothing_and_repeats_nothing(
    tmp_path: Path, worn: type[WornFolder], good: int
) -> None:
    stage = Stage(tmp_path, most_bytes=64 * KIB)
    stage.append(*range(10))
    stage.write()
    stage.append(*range(10, 120))
    worn.good = good
    stage.write()
    assert stage.counts == {"store_unwritable": 1}
    assert stage.store.due_in_s() == RETRY_S
    assert stage.found_after_a_kill() == list(range(10)), "a crash now loses what the disk did not take, and no more"
    stage.time.elapsed_s += RETRY_S
    worn.good = None
    stage.write()
    assert stage.again().rest() == list(range(120))


def test_a_disk_that_takes_nothing_at_all_costs_the_oldest_and_bounded_memory(
    tmp_path: Path, worn: type[WornFolder]
) -> None:
    worn.good = 0
    stage = Stage(tmp_path)
    stage.append(*range(3000))
    stage.write()
    for number in range(3000, 4000):
        stage.store.append(prediction(number, values=[0.123456] * 500))
    assert 0.99 * MOST_MEMORY_BYTES < stage.store.kept_bytes <= MOST_MEMORY_BYTES
    found = stage.rest()
    assert found == list(range(found[0], 4000))
    assert stage.counts == {"store_unwritable": 1, "store_full": found[0]}


def test_what_a_disk_does_not_take_at_the_end_is_counted(tmp_path: Path, worn: type[WornFolder]) -> None:
    stage = Stage(tmp_path)
    stage.append(*range(7))
    worn.good = 0
    stage.close()
    assert stage.counts == {"store_unwritable": 1, "store_lost": 7}


def test_a_full_disk_costs_the_oldest_file_and_then_takes_the_rest(tmp_path: Path, worn: type[WornFolder]) -> None:
    stage = Stage(tmp_path, most_bytes=64 * KIB)
    stage.append(*range(100))
    stage.write()
    worn.good, worn.fault = 0, errno.ENOSPC
    stage.append(100)
    stage.write()
    worn.good = None
    stage.write()
    found = stage.again().rest()
    assert found == list(range(found[0], 101))
    assert stage.counts == {"store_unwritable": 1, "store_full": found[0]}


def test_a_full_disk_costs_nothing_where_the_oldest_were_promised(tmp_path: Path, worn: type[WornFolder]) -> None:
    stage = Stage(tmp_path, most_bytes=64 * KIB, full="drop_newest")
    stage.append(*range(100))
    stage.write()
    worn.good, worn.fault = 0, errno.ENOSPC
    stage.append(100)
    stage.write()
    worn.good = None
    stage.write()
    assert stage.again().rest() == list(range(101))


class SlowFolder(SegmentFolder):
    """A disk that begins to write and then waits for the test."""

    begun = threading.Event()
    may_go_on = threading.Event()

    def _append(self, number: int, line: bytes) -> Segment:
        segment = super()._append(number, line)
        self.begun.set()
        assert self.may_go_on.wait(20)
        return segment


@pytest.mark.parametrize("taken", [5, 10, 15, 20])
def test_what_is_taken_while_it_is_being_written_costs_nothing_of_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, taken: int
) -> None:
    monkeypatch.setattr("agent.gateway.store.store.SegmentFolder", SlowFolder)
    stage = Stage(tmp_path)
    stage.append(*range(10))
    SlowFolder.may_go_on.set()
    stage.write()
    stage.append(*range(10, 20))

    async def scene() -> None:
        SlowFolder.begun.clear()
        SlowFolder.may_go_on.clear()
        writing = asyncio.create_task(stage.store.write())
        await until(SlowFolder.begun.is_set)
        stage.store.forget(taken - 1)
        stage.append(20)
        SlowFolder.may_go_on.set()
        await writing

    asyncio.run(scene())
    assert stage.found_after_a_kill()[-1:] == [19] * (taken < 20)
    assert bool(stage.files()) == (taken < 20)
    stage.close()
    assert stage.counts == {}
    assert stage.again().rest() == list(range(taken, 21))
