"""Predictions that their sink has not taken yet, in their order: in memory first, on the disk when they grow or age.

Decides: what is kept and what goes when there is no room, when the disk is written, what a restart finds. Leaves out:
delivering (`sinks/forward.py`) and files (`segments.py`).
While a sink keeps up nothing is written at all. What is on the disk survives a kill and a power cut, and may then come
twice; what is only in memory is at most `flush_s` old, and 64 KiB. `drop_oldest` lets whole files go, an eighth of the
bound at most: the newest seven eighths are always kept. `drop_newest` refuses what does not fit.
"""

import asyncio
import errno
import itertools
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from agent.errors import DiskFull
from agent.gateway.base import Clock, Prediction
from agent.gateway.sinks.text import line_of, prediction_in
from agent.gateway.store.segments import Segment, SegmentFolder
from agent.serve.settings import KIB, MIB, StoreSettings

log = logging.getLogger(__name__)

FLUSH_BYTES = 64 * KIB
"""Predictions in memory are written once they are this large, however young."""
SEGMENT_BYTES = 256 * KIB
MOST_MEMORY_BYTES = 4 * MIB
"""Memory grows beyond one flush only while the disk takes nothing, or not fast enough."""
WITHOUT_STORE_BYTES = MIB
"""Held in memory where nothing may be stored."""
SEGMENTS_AT_LEAST = 8
RETRY_S = 10.0
"""How long a disk that refused is left alone."""


@dataclass(frozen=True)
class Kept:
    """A prediction and its place in the order."""

    number: int
    prediction: Prediction


@dataclass(frozen=True)
class _Waiting:
    number: int
    line: bytes
    at_s: float


class Store:
    """Belongs to the event loop's thread; only `write` and `close` leave it, while they wait for the disk."""

    def __init__(self, folder: Path, settings: StoreSettings, clock: Clock, count: Callable[[str], None]) -> None:
        """Take up what an earlier run left in `folder`.

        Args:
            folder: Of this store alone.
            settings: Bound, policy, and how long memory may hold.
            clock: Its `monotonic_s` ages what is in memory.
            count: Called with a reason once per prediction that is dropped.
        Raises:
            OSError: The folder cannot be made or read.
        """
        self._settings = settings
        self._clock = clock
        self._count = count
        self._bound_bytes = settings.most_bytes or WITHOUT_STORE_BYTES
        segment_bytes = max(1, min(SEGMENT_BYTES, self._bound_bytes // SEGMENTS_AT_LEAST))
        self._flush_bytes = min(FLUSH_BYTES, segment_bytes)
        self._files = SegmentFolder(folder, segment_bytes)
        self._segments: deque[Segment] = deque(self._files.found())
        self._position = self._files.position()
        self._saved_position = self._position
        self._next = self._segments[-1].end if self._segments else self._position
        self._position = min(self._next, self._position)
        self._disk_bytes = sum(segment.size_bytes for segment in self._segments)
        self._damaged = -1
        self._head: deque[tuple[int, bytes]] = deque()
        self._memory: deque[_Waiting] = deque()
        self._memory_bytes = 0
        self._forgotten_bytes = 0
        self._writing = False
        self._retry_at_s = 0.0
        self._tidy()

    # --- in and out -----------------------------------------------------------------------------------------------

    @property
    def kept_bytes(self) -> int:
        """What is held, in memory and on the disk [bytes]."""
        return self._memory_bytes + self._disk_bytes

    @property
    def disk_bytes(self) -> int:
        """Size of the files [bytes]."""
        return self._disk_bytes

    @property
    def position(self) -> int:
        """Number of the oldest prediction that waits."""
        return self._position

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits."""
        return self._position >= self._next

    def append(self, prediction: Prediction) -> bool:
        """Keep a prediction; return False, and count why, where the policy does not keep it. Never waits."""
        line = line_of(prediction.document)
        if not self._make_room(len(line)):
            self._say("store_full")
            return False
        self._memory.append(_Waiting(self._next, line, self._clock.monotonic_s()))
        self._memory_bytes += len(line)
        self._next += 1
        return True

    def peek(self, most: int) -> list[Kept]:
        """Return up to `most` of the oldest predictions, which stay until they are forgotten."""
        while self._look_at_disk():
            ahead = list(itertools.islice(self._head, most))
            found = [kept for number, line in ahead if (kept := self._readable(number, line)) is not None]
            if found:
                return found
            self.forget(ahead[-1][0])
        waiting = list(itertools.islice(self._memory, most))
        return [kept for each in waiting if (kept := self._readable(each.number, each.line)) is not None]

    def forget(self, number: int) -> None:
        """Let go of this prediction and of all before it."""
        while self._head and self._head[0][0] <= number:
            self._forgotten_bytes += len(self._head.popleft()[1])
        while self._memory and self._memory[0].number <= number:
            self._memory_bytes -= len(self._memory.popleft().line)
        self._position = max(self._position, number + 1)
        self._tidy()

    # --- the disk -------------------------------------------------------------------------------------------------

    def due_in_s(self) -> float | None:
        """Return how long the disk need not be written yet; null: nothing is to be written."""
        now_s = self._clock.monotonic_s()
        if self._settings.most_bytes == 0 or not (self._memory or self._position_is_old()):
            return None
        wait_s = self._memory[0].at_s + self._settings.flush_s - now_s if self._memory else 0.0
        if self.is_large or self._position_is_old():
            wait_s = 0.0
        return max(0.0, wait_s, self._retry_at_s - now_s)

    def gathered_in_s(self, gather_s: float) -> float:
        """Return how long a sink that writes rarely may leave what waits alone, to write more of it at once.

        That ends before the disk of this store is due, so that nothing is written twice while the sink keeps up.

        Args:
            gather_s: How old the oldest may become.
        """
        if not self._memory or self._memory[0].number > self._position or self.is_half_large:
            return 0.0
        if self._settings.most_bytes:
            gather_s = min(gather_s, self._settings.flush_s / 2)
        return max(0.0, self._memory[0].at_s + gather_s - self._clock.monotonic_s())

    @property
    def is_half_large(self) -> bool:
        """Whether memory holds enough for a sink that gathers."""
        return self._memory_bytes >= self._flush_bytes / 2

    @property
    def is_large(self) -> bool:
        """Whether memory holds enough to be written now, however young it is."""
        return self._memory_bytes >= self._flush_bytes

    async def write(self) -> None:
        """Write what is in memory, and the position where it is old, on another thread; a refusal is counted.

        Cancelled, it is never over: that thread may be at work for as long as the disk hangs.
        """
        self._writing = True
        try:
            if self._memory:
                await self._write_memory()
            if self._position_is_old():
                await self._write_position()
        except (OSError, DiskFull) as exc:
            self._refused(exc)
        self._writing = False
        self._tidy()

    async def save(self) -> None:
        """Put what is in memory on the disk now, where there is one; a refusal is counted."""
        if self._settings.most_bytes and self._memory:
            await self.write()

    async def close(self) -> None:
        """Put everything on the disk; what it does not take is counted."""
        self._forgotten_bytes = max(self._forgotten_bytes, self._flush_bytes if self._segments else 0)
        if self._settings.most_bytes:
            await self.write()
        self.give_up()
        self._files.close()

    def give_up(self) -> None:
        """Count what is in memory as lost. Files stay open: the disk may still be at work on them."""
        if self._memory:
            log.warning("%d predictions are lost: the disk did not take them", len(self._memory))
        for _ in self._memory:
            self._say("store_lost" if self._settings.most_bytes else "store_full")
        self._memory.clear()
        self._memory_bytes = 0

    async def _write_memory(self) -> None:
        first, lines = self._memory[0].number, [each.line for each in self._memory]
        written = await asyncio.to_thread(self._files.write, first, lines)
        known = {segment.first: segment for segment in self._segments}
        for segment in written:
            if segment.first in known:
                known[segment.first].end, known[segment.first].size_bytes = segment.end, segment.size_bytes
            else:
                self._segments.append(segment)
        self._disk_bytes = sum(segment.size_bytes for segment in self._segments)
        while self._memory and self._memory[0].number < first + len(lines):
            self._memory_bytes -= len(self._memory.popleft().line)

    async def _write_position(self) -> None:
        self._forgotten_bytes = 0
        if self._segments and self._position != self._saved_position:
            number = self._position
            await asyncio.to_thread(self._files.save_position, number)
            self._saved_position = number

    def _position_is_old(self) -> bool:
        """Whether so much was delivered from the disk that a crash should not bring all of it again."""
        return bool(self._segments) and self._forgotten_bytes >= self._flush_bytes

    def _refused(self, exc: OSError | DiskFull) -> None:
        log.warning("predictions cannot be written and stay in memory: %s", exc)
        self._say("store_unwritable")
        self._retry_at_s = self._clock.monotonic_s() + RETRY_S
        no_room = isinstance(exc, DiskFull) or exc.errno in (errno.ENOSPC, errno.EDQUOT)
        if no_room and self._settings.full == "drop_oldest":
            self._drop_oldest_segment()

    # --- room -----------------------------------------------------------------------------------------------------

    def _make_room(self, size_bytes: int) -> bool:
        """Return whether a line fits, after the policy let older ones go."""
        if size_bytes > self._bound_bytes:
            return False
        may_drop = self._settings.full == "drop_oldest"
        while self.kept_bytes + size_bytes > self._bound_bytes:
            if not (may_drop and (self._drop_oldest_segment() or self._drop_oldest_in_memory())):
                return False
        while self._memory_bytes and self._memory_bytes + size_bytes > MOST_MEMORY_BYTES:
            if not (may_drop and self._drop_oldest_in_memory()):
                return False
        return True

    def _drop_oldest_segment(self) -> bool:
        """Let the oldest file go, unless it is the one that is written to just now."""
        if not self._segments or (self._writing and len(self._segments) == 1):
            return False
        segment = self._segments[0]
        self._remove_first()
        for _ in range(max(segment.first, self._position), segment.end):
            self._say("store_full")
        self._position = max(self._position, segment.end)
        self._head.clear()
        return True

    def _drop_oldest_in_memory(self) -> bool:
        """Let one prediction go; not while older ones are on the disk, or are on their way to it."""
        if self._writing or self._segments or not self._memory:
            return False
        oldest = self._memory.popleft()
        self._memory_bytes -= len(oldest.line)
        self._position = max(self._position, oldest.number + 1)
        self._say("store_full")
        return True

    def _say(self, reason: str) -> None:
        self._count(reason)

    # --- files that are read --------------------------------------------------------------------------------------

    def _look_at_disk(self) -> bool:
        """Load lines where none are, and return whether the oldest prediction comes from the disk."""
        while self._segments and not self._head and self._position < self._segments[-1].end:
            self._read_ahead(next(each for each in self._segments if each.end > self._position))
        return bool(self._head)

    def _read_ahead(self, segment: Segment) -> None:
        """Load the rest of a file from the position on; lines that it lacks are passed over."""
        start = max(self._position, segment.first)
        try:
            lines = self._files.read(segment, start)
        except OSError as exc:
            log.warning("%s cannot be read, its predictions are lost: %s", segment.path, exc)
            lines = []
            for _ in range(start, segment.end):
                self._say("store_damaged")
        self._head.extend(enumerate(lines, start))
        if not lines:
            self._position = segment.end
            self._tidy()

    def _readable(self, number: int, line: bytes) -> Kept | None:
        """Return a line's prediction; a damaged line is counted, once."""
        prediction = prediction_in(line)
        if prediction is not None:
            return Kept(number, prediction)
        if number > self._damaged:
            self._damaged = number
            self._say("store_damaged")
        return None

    def _tidy(self) -> None:
        """Delete files of which nothing is wanted any more."""
        while self._segments and self._segments[0].end <= self._position:
            if self._writing and len(self._segments) == 1:
                return  # the other thread may be appending to it
            self._remove_first()

    def _remove_first(self) -> None:
        segment = self._segments.popleft()
        self._disk_bytes -= segment.size_bytes
        self._files.remove(segment)
