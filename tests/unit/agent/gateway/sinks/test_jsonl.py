"""Lines in a file: when they are written, rotation, somebody else's rotation, and disks that take nothing."""

import asyncio
import errno
import json
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from agent.gateway.sinks.failures import FileRefused
from agent.gateway.sinks.jsonl import JsonlWriter
from agent.gateway.sinks.text import line_of
from agent.serve.settings import KIB, JsonlSink
from tests.unit.agent.gateway.sinks.sink_kit import Line, VirtualTime, prediction, until

LINE_BYTES = len(line_of(prediction(100).document))


def writer(path: Path, time: VirtualTime, **settings: Any) -> JsonlWriter:
    return JsonlWriter("jsonl", JsonlSink(kind="jsonl", path=path, **settings), time.clock)


def numbers(path: Path) -> list[int]:
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    assert all(line.endswith(b"\n") for line in lines), "no line is cut off"
    return [json.loads(line)["origin"]["n"] for line in lines]


def some(*given: int) -> list[Any]:
    return [prediction(number) for number in given]


class Syncs:
    """What each fsync of the file finds in it; real ones."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
        self.found: list[list[int]] = []
        self.fault: OSError | None = None
        real = os.fsync

        def note(handle: int) -> None:
            if self.fault is not None:
                raise self.fault
            real(handle)
            if os.path.isfile(f"/proc/self/fd/{handle}"):
                self.found.append(numbers(path))

        monkeypatch.setattr("agent.gateway.sinks.jsonl.os.fsync", note)


def test_a_delivered_line_is_in_the_file_and_the_disk_is_synced_once_in_flush_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "out" / "predictions.jsonl"
    syncs = Syncs(monkeypatch, path)

    async def scene() -> None:
        time = VirtualTime()
        sink = writer(path, time, flush_s=30.0)
        await sink.deliver(some(0, 1))
        assert syncs.found == [[0, 1]]
        for number in range(2, 12):
            await time.advance(1.0)
            await sink.deliver(some(number))
            assert numbers(path)[-1] == number
        assert len(syncs.found) == 1
        await time.advance(21.0)
        await until(lambda: len(syncs.found) == 2)
        assert syncs.found[-1] == list(range(12)), "what was written is synced though nothing comes any more"
        await time.advance(300.0)
        await sink.close()
        assert len(syncs.found) == 2, "nothing new: nothing to sync"

    asyncio.run(scene())


def test_the_last_lines_are_synced_at_the_end_and_each_list_without_flush_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "p.jsonl"
    syncs = Syncs(monkeypatch, path)

    async def scene() -> None:
        sink = writer(path, VirtualTime(), flush_s=30.0)
        await sink.deliver(some(0))
        await sink.deliver(some(1))
        await sink.close()
        sink = writer(path, VirtualTime(), flush_s=0.0)
        await sink.deliver(some(2))
        await sink.deliver(some(3))

    asyncio.run(scene())
    assert syncs.found == [[0], [0, 1], [0, 1, 2], [0, 1, 2, 3]]


def test_lines_that_the_disk_may_have_lost_come_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "p.jsonl"
    syncs = Syncs(monkeypatch, path)

    async def scene() -> None:
        sink = writer(path, VirtualTime(), flush_s=0.0)
        syncs.fault = OSError(errno.EIO, "worn")
        with pytest.raises(FileRefused, match="worn"):
            await sink.deliver(some(1))
        syncs.fault = None
        await sink.deliver(some(1))

    asyncio.run(scene())
    assert syncs.found == [[1, 1]]


def test_lines_are_gathered_in_the_store_and_written_once_in_flush_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "p.jsonl"
    syncs = Syncs(monkeypatch, path)

    async def scene() -> None:
        time = VirtualTime()
        sink = writer(path, time, flush_s=30.0)
        async with Line(tmp_path / "store", time, 30.0, sink) as line:
            for number in range(70):
                line.forwarder.accept(prediction(number))
                await time.advance(1.0)
                if number % 30 == 29:
                    await until(lambda: line.store.is_empty)
            assert [found[-1] for found in syncs.found] == [29, 59]
            assert os.listdir(tmp_path / "store") == [], "a card is not written twice"
        assert numbers(path) == list(range(70)), "nothing is left for the next start"
        assert line.counts == {}

    asyncio.run(scene())


def test_much_is_not_gathered_for_long(tmp_path: Path) -> None:
    path, many = tmp_path / "p.jsonl", 33 * KIB // LINE_BYTES

    async def scene() -> None:
        time = VirtualTime()
        async with Line(tmp_path / "store", time, 3600.0, writer(path, time, flush_s=3600.0)) as line:
            for number in range(100, 100 + many):
                line.forwarder.accept(prediction(number))
            await until(lambda: line.store.is_empty)
            assert len(numbers(path)) == many

    asyncio.run(scene())


@pytest.mark.parametrize("restarted", [False, True])
def test_no_line_is_lost_on_a_path_that_cannot_be_written(tmp_path: Path, restarted: bool) -> None:
    """Nothing is accepted that is not in the file: the store has it, over the end of the process too."""
    blocked, store = tmp_path / "file", tmp_path / "store"
    blocked.write_text("no folder")
    path = blocked / "p.jsonl"

    async def scene() -> None:
        time = VirtualTime()
        async with Line(store, time, 5.0, writer(path, time, flush_s=5.0)) as line:
            for number in range(20):
                line.forwarder.accept(prediction(number))
            await time.advance(6.0)
            await until(lambda: line.counts["sink_file_refused"] >= 1)
            if not restarted:
                blocked.unlink()
                await time.advance(60.0)
                await until(lambda: line.store.is_empty)
        if restarted:
            blocked.unlink()
            async with Line(store, time, 5.0, writer(path, time, flush_s=5.0)) as line:
                await until(lambda: line.store.is_empty)
        assert numbers(path) == list(range(20))
        assert set(line.counts) <= {"sink_file_refused"}

    asyncio.run(scene())


@pytest.mark.parametrize("keep", [0, 1, 3])
def test_files_are_rotated_by_size_and_the_oldest_go(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "p.jsonl"

    async def scene() -> None:
        sink = writer(path, VirtualTime(), flush_s=0.0, rotate_bytes=1024, keep=keep)
        for number in range(100, 130):
            await sink.deliver(some(number))
        await sink.close()

    asyncio.run(scene())
    each = 1024 // LINE_BYTES
    files = [path, *(tmp_path / f"p.jsonl.{number}" for number in range(1, keep + 1))]
    assert sorted(tmp_path.iterdir()) == sorted(files)
    assert all(file.stat().st_size <= 1024 for file in files)
    kept = [number for file in reversed(files) for number in numbers(file)]
    assert kept == list(range(130 - len(kept), 130))
    assert len(kept) > each * keep


def test_a_file_from_before_is_appended_to(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"

    async def scene() -> None:
        for number in (1, 2):
            sink = writer(path, VirtualTime())
            await sink.deliver(some(number))
            await sink.close()

    asyncio.run(scene())
    assert numbers(path) == [1, 2]


def test_a_file_that_somebody_else_rotated_or_removed_is_made_anew(tmp_path: Path) -> None:
    path, moved = tmp_path / "p.jsonl", tmp_path / "moved"

    async def scene() -> None:
        sink = writer(path, VirtualTime(), flush_s=0.0)
        await sink.deliver(some(1))
        path.rename(moved)
        await sink.deliver(some(2))
        assert (numbers(moved), numbers(path)) == ([1], [2])
        path.unlink()
        await sink.deliver(some(3))
        assert numbers(path) == [3]

    asyncio.run(scene())


def test_on_a_full_disk_predictions_are_refused_until_there_is_room(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    path.symlink_to("/dev/full")

    async def scene() -> None:
        sink = writer(path, VirtualTime(), flush_s=5.0)
        for _ in range(2):
            with pytest.raises(FileRefused, match="free some space"):
                await sink.deliver(some(1, 2))
        path.unlink()
        await sink.deliver(some(1, 2))
        await sink.close()

    asyncio.run(scene())
    assert numbers(path) == [1, 2]


@contextmanager
def largest_file(size_bytes: int) -> Iterator[None]:
    """No file of this process may grow beyond `size_bytes`: the line that reaches it is cut off in the middle."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_half_a_line_is_taken_back_and_comes_whole_later(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"

    async def scene() -> None:
        sink = writer(path, VirtualTime(), flush_s=0.0)
        with largest_file(3 * LINE_BYTES + LINE_BYTES // 2):
            for _ in range(2):
                with pytest.raises(FileRefused):
                    await sink.deliver(some(*range(100, 106)))
                assert numbers(path) == [100, 101, 102]
        await sink.deliver(some(*range(100, 107)))
        assert numbers(path) == list(range(100, 107)), "what was written comes once"

    asyncio.run(scene())
    assert os.path.getsize(path) == 7 * LINE_BYTES
