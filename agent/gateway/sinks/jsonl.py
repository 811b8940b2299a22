"""Predictions as lines of JSON in a file, rotated by size.

Decides: when lines leave memory, how files are rotated, and what a full disk does. Leaves out: what is in a line.
Lines wait up to `flush_s` in memory, which is what a kill or a power cut can cost; a file that somebody else rotated or
removed is made anew. A disk that takes nothing is met by refusing further predictions, which then stay in the store.
"""

import asyncio
import contextlib
import errno
import os
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from agent.gateway.base import Clock, Prediction
from agent.gateway.sinks.failures import FileRefused
from agent.gateway.sinks.text import line_of
from agent.serve.settings import KIB, JsonlSink

FLUSH_BYTES = 64 * KIB
"""Lines leave memory once they are this large, however young."""
MOST_EACH = 256


class LineFile:
    """The file and its rotated ones. Blocks; one call at a time."""

    def __init__(self, path: Path, rotate_bytes: int, keep: int) -> None:
        self._path = path
        self._rotate_bytes = rotate_bytes
        self._keep = keep
        self._file: BinaryIO | None = None

    def append(self, lines: Sequence[bytes]) -> int:
        """Append lines, rotating where they do not fit; return how many are written.

        Fewer than all: the disk refused the next one, of which nothing is left in the file.
        """
        for number, line in enumerate(lines):
            try:
                self._append(line)
            except OSError:
                self.close()
                if number == 0:
                    raise
                return number
        return len(lines)

    def close(self) -> None:
        """Let go of the file."""
        file, self._file = self._file, None
        if file is not None:
            with contextlib.suppress(OSError):
                file.close()

    def _append(self, line: bytes) -> None:
        file = self._current()
        size_bytes = os.fstat(file.fileno()).st_size
        if size_bytes and size_bytes + len(line) > self._rotate_bytes:
            self._rotate(file)
            file, size_bytes = self._current(), 0
        written = 0
        try:
            written = file.write(line)
        finally:
            if written < len(line):  # half a line would spoil the next one
                with contextlib.suppress(OSError):
                    os.ftruncate(file.fileno(), size_bytes)
        if written < len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _current(self) -> BinaryIO:
        """Return the file under the path, opened again where another process moved it away."""
        if self._file is not None:
            try:
                at_path, ours = os.stat(self._path), os.fstat(self._file.fileno())
                if (at_path.st_dev, at_path.st_ino) == (ours.st_dev, ours.st_ino):
                    return self._file
            except FileNotFoundError:
                pass
            self.close()
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._path.open("ab", buffering=0)
        return self._file

    def _rotate(self, file: BinaryIO) -> None:
        """NAME becomes NAME.1, which becomes NAME.2, up to `keep`; beyond, files are deleted."""
        os.fsync(file.fileno())
        self.close()
        for number in range(self._keep, 0, -1):
            older = self._numbered(number)
            if number == self._keep:
                older.unlink(missing_ok=True)
            newer = self._numbered(number - 1)
            if newer.exists():
                os.replace(newer, older)
        if self._keep == 0:
            self._path.unlink(missing_ok=True)

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}") if number else self._path


class JsonlWriter:
    """Gathers lines and writes them on another thread."""

    most_each = MOST_EACH

    def __init__(self, name: str, settings: JsonlSink, clock: Clock) -> None:
        """Write as `settings` say; nothing is opened before the first line leaves memory."""
        self.name = name
        self._settings = settings
        self._clock = clock
        self._file = LineFile(settings.path, settings.rotate_bytes, settings.keep)
        self._lines: list[bytes] = []
        self._bytes = 0
        self._failed = False
        self._writing = asyncio.Lock()
        self._timer: asyncio.Task[None] | None = None

    async def deliver(self, predictions: Sequence[Prediction]) -> None:
        """Take lines into memory, and write where there are many or memory may not hold them any longer."""
        if self._failed:
            await self._flush()
        for each in predictions:
            self._lines.append(line_of(each.document))
            self._bytes += len(self._lines[-1])
        if self._bytes >= FLUSH_BYTES or self._settings.flush_s == 0:
            await self._flush_or_keep()
        elif self._timer is None or self._timer.done():
            self._timer = asyncio.create_task(self._flush_later())

    async def close(self) -> None:
        """Write what is in memory.

        Raises:
            Undelivered: The disk does not take it.
        """
        if self._timer is not None:
            self._timer.cancel()
        try:
            await self._flush()
        finally:
            self._file.close()

    async def _flush_later(self) -> None:
        await self._clock.sleep(self._settings.flush_s)
        await self._flush_or_keep()

    async def _flush_or_keep(self) -> None:
        """Write; lines that the disk does not take stay in memory, and further predictions are refused."""
        with contextlib.suppress(FileRefused):
            await self._flush()

    async def _flush(self) -> None:
        await asyncio.shield(asyncio.ensure_future(self._write()))

    async def _write(self) -> None:
        async with self._writing:
            lines = list(self._lines)
            if not lines:
                return
            try:
                written = await asyncio.to_thread(self._file.append, lines)
            except OSError as exc:
                self._failed = True
                raise FileRefused(
                    f"{self._settings.path} cannot be written ({exc.strerror}): free some space, or let "
                    "the agent's user write there"
                ) from exc
            self._failed = written < len(lines)
            del self._lines[:written]
            self._bytes = sum(map(len, self._lines))
