"""Predictions as lines of JSON in a file, rotated by size.

Decides: when the disk has to have the lines, how files are rotated, and what a full disk does. Leaves out: what is in a
line, and gathering lines, which the forwarder does in the store (`forward.py`).
Lines that are delivered are in the file. They are synced at once where the last sync is `flush_s` old, else once it is:
a card is synced no more than that. A file that somebody else rotated or removed is made anew.
"""

import asyncio
import contextlib
import errno
import logging
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from agent.device.durable import sync_folder
from agent.gateway.base import Clock, Prediction
from agent.gateway.sinks.failures import FileRefused
from agent.gateway.sinks.text import line_of
from agent.serve.settings import JsonlSink

log = logging.getLogger(__name__)

MOST_EACH = 256


class LineFile:
    """The file and its rotated ones. Blocks; one call at a time."""

    def __init__(self, path: Path, rotate_bytes: int, keep: int) -> None:
        self._path = path
        self._rotate_bytes = rotate_bytes
        self._keep = keep
        self._file: BinaryIO | None = None
        self._is_unsynced = False
        self._is_new = False

    def append(self, lines: Sequence[bytes]) -> tuple[int, OSError | None]:
        """Append lines, rotating where they do not fit; return how many are written, and why not all.

        Of the next one nothing is left in the file.
        """
        for number, line in enumerate(lines):
            try:
                self._append(line)
            except OSError as exc:
                with contextlib.suppress(OSError):
                    self.sync()
                self.close()
                return number, exc
        return len(lines), None

    def sync(self) -> None:
        """Wait until the disk has what was written since the last time.

        Raises:
            OSError: It does not take it.
        """
        if self._file is None or not self._is_unsynced:
            return
        try:
            os.fsync(self._file.fileno())
        except OSError as exc:
            if exc.errno != errno.EINVAL:  # no file at all: a pipe, a terminal
                raise
        if self._is_new:
            sync_folder(self._path.parent)
        self._is_unsynced = self._is_new = False

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
        self._is_unsynced = True
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
            self.sync()
            self.close()
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._is_new = self._is_new or not self._path.exists()
        self._file = self._path.open("ab", buffering=0)
        return self._file

    def _rotate(self, file: BinaryIO) -> None:
        """NAME becomes NAME.1, which becomes NAME.2, up to `keep`; beyond, files are deleted."""
        os.fsync(file.fileno())
        self.close()
        self._is_unsynced = False
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
    """Writes lines on another thread."""

    most_each = MOST_EACH

    def __init__(self, name: str, settings: JsonlSink, clock: Clock) -> None:
        """Write as `settings` say; nothing is opened before the first line."""
        self.name = name
        self._settings = settings
        self._clock = clock
        self._file = LineFile(settings.path, settings.rotate_bytes, settings.keep)
        self._written: list[bytes] = []
        self._synced_at_s = -math.inf
        self._working = asyncio.Lock()
        self._sync_task: asyncio.Task[None] | None = None

    async def deliver(self, predictions: Sequence[Prediction]) -> None:
        """Write a line each; lines of the last call that come again are in the file already, and are passed over.

        Raises:
            Undelivered: The disk does not take all of them.
        """
        lines = [line_of(each.document) for each in predictions]
        await asyncio.shield(asyncio.ensure_future(self._write(lines)))

    async def close(self) -> None:
        """Have the disk take what is written.

        Raises:
            Undelivered: It does not.
        """
        async with self._working:
            if self._sync_task is not None:
                self._sync_task.cancel()  # it sleeps, or waits for this lock: its thread is not at work
            try:
                await self._sync()
            except OSError as exc:
                raise self._refusal(exc) from exc
            finally:
                self._file.close()

    async def _write(self, lines: Sequence[bytes]) -> None:
        async with self._working:
            done = _in_both(self._written, lines)
            try:
                written, fault = await asyncio.to_thread(self._file.append, lines[done:])
                self._written = list(lines[: done + written])
                if fault is not None:
                    raise fault
                await self._sync_if_due()
            except OSError as exc:
                raise self._refusal(exc) from exc

    async def _sync_if_due(self) -> None:
        """Sync, or see to it that it will be done."""
        wait_s = self._synced_at_s + self._settings.flush_s - self._clock.monotonic_s()
        if wait_s <= 0:
            self._synced_at_s = self._clock.monotonic_s()
            await self._sync()
        elif self._sync_task is None or self._sync_task.done():
            self._sync_task = asyncio.create_task(self._sync_later(wait_s))

    async def _sync_later(self, wait_s: float) -> None:
        """Sync what no later list did. That is not remembered: lines that are gathered now must not wait for longer."""
        await self._clock.sleep(wait_s)
        async with self._working:
            try:
                await self._sync()
            except OSError as exc:
                log.warning("%s", self._refusal(exc))

    async def _sync(self) -> None:
        try:
            await asyncio.to_thread(self._file.sync)
        except OSError:
            self._written = []  # nobody knows what the disk has: all of it comes again
            self._file.close()
            raise

    def _refusal(self, exc: OSError) -> FileRefused:
        return FileRefused(
            f"{self._settings.path} cannot be written ({exc.strerror}): free some space, or let "
            "the agent's user write there"
        )


def _in_both(before: Sequence[bytes], lines: Sequence[bytes]) -> int:
    """Return how many lines both begin with."""
    return next(
        (n for n, (old, new) in enumerate(zip(before, lines, strict=False)) if old != new), min(len(before), len(lines))
    )
