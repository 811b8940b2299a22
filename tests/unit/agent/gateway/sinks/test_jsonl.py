"""Lines in a file: when they are written, rotation, somebody else's rotation, and disks that take nothing."""

import asyncio
import json
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from agent.gateway.sinks.failures import FileRefused
from agent.gateway.sinks.jsonl import FLUSH_BYTES, JsonlWriter
from agent.gateway.sinks.text import line_of
from agent.serve.settings import JsonlSink
from tests.unit.agent.gateway.sinks.sink_kit import VirtualTime, prediction, until

LINE_BYTES = len(line_of(prediction(100).document))


def writer(path: Path, time: VirtualTime, **settings: Any) -> JsonlWriter:
    return JsonlWriter("jsonl", JsonlSink(kind="jsonl", path=path, **settings), time.clock)


def numbers(path: Path) -> list[int]:
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    assert all(line.endswith(b"\n") for line in lines), "no line is cut off"
    return [json.loads(line)["origin"]["n"] for line in lines]


def some(*given: int) -> list[Any]:
    return [prediction(number) for number in given]


def test_lines_wait_for_flush_s_and_are_written_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "out" / "predictions.jsonl"

    async def scene() -> None:
        time = VirtualTime()
        sink = writer(path, time, flush_s=30.0)
        await sink.deliver(some(0, 1))
        await time.advance(29.0)
        assert not path.exists()
        await time.advance(2.0)
        await until(lambda: numbers(path) == [0, 1])
        await sink.deliver(some(2))
        await time.advance(1.0)
        assert numbers(path) == [0, 1]
        await sink.close()
        assert numbers(path) == [0, 1, 2]

    asyncio.run(scene())


def test_much_is_written_at_once_and_so_is_everything_without_flush_s(tmp_path: Path) -> None:
    async def scene() -> None:
        many = FLUSH_BYTES // LINE_BYTES + 2
        sink = writer(tmp_path / "many", VirtualTime(), flush_s=3600.0)
        await sink.deliver(some(*range(many)))
        assert numbers(tmp_path / "many") == list(range(many))
        sink = writer(tmp_path / "now", VirtualTime(), flush_s=0.0)
        await sink.deliver(some(1))
        assert numbers(tmp_path / "now") == [1]

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
        time = VirtualTime()
        sink = writer(path, time, flush_s=5.0)
        await sink.deliver(some(1))
        await time.advance(6.0)
        await until(lambda: sink._failed)
        with pytest.raises(FileRefused, match="free some space"):
            await sink.deliver(some(2))
        path.unlink()
        await sink.deliver(some(2))
        await sink.close()

    asyncio.run(scene())
    assert numbers(path) == [1, 2]


def test_what_cannot_be_written_at_the_end_is_said(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("no folder")

    async def scene() -> None:
        sink = writer(blocked / "p.jsonl", VirtualTime())
        await sink.deliver(some(1))
        with pytest.raises(FileRefused, match="cannot be written"):
            await sink.close()

    asyncio.run(scene())


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
            await sink.deliver(some(*range(100, 106)))
            assert numbers(path) == [100, 101, 102]
            with pytest.raises(FileRefused):
                await sink.deliver(some(106))
        await sink.deliver(some(106))
        assert numbers(path) == list(range(100, 107))

    asyncio.run(scene())
    assert os.path.getsize(path) == 7 * LINE_BYTES
