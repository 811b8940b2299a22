"""Lines in numbered files that are only ever appended to: how a store lies on the disk.

Decides: names, when a file is full, what a write has to survive, and what is found after a power cut. Leaves out: which
lines are kept (`store.py`). A file is named by the number of its first line, so that the next file's name says how many
lines it has; only the last file is read at the start. A line without its end was cut off by a power cut and is no line.
"""

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from agent.device.durable import sync_folder, write_durably

SUFFIX = ".jsonl"
POSITION_FILE = "position"


@dataclass
class Segment:
    """One file: lines `first` to `end`, `end` not included."""

    first: int
    path: Path
    end: int
    size_bytes: int


class SegmentFolder:
    """The files of one store. `write` may run on another thread, one call at a time, while nothing else is called."""

    def __init__(self, folder: Path, segment_bytes: int) -> None:
        """Use `folder`, made if need be; a file is closed once `segment_bytes` are in it."""
        self._folder = folder
        self._segment_bytes = segment_bytes
        self._file: BinaryIO | None = None
        self._open: Segment | None = None
        folder.mkdir(parents=True, exist_ok=True)

    def found(self) -> list[Segment]:
        """Return the files that lie here, oldest first; one without a whole line is removed."""
        firsts = sorted(int(path.stem) for path in self._folder.glob(f"*{SUFFIX}") if path.stem.isdigit())
        segments = []
        for place, first in enumerate(firsts, 1):
            path = self._path(first)
            end = firsts[place] if place < len(firsts) else first + path.read_bytes().count(b"\n")
            if end > first:
                segments.append(Segment(first, path, end, path.stat().st_size))
            else:
                path.unlink()
        return segments

    def position(self) -> int:
        """Return the number of the first line that is still wanted; 0 where nothing readable says so."""
        try:
            return max(0, int(self._folder.joinpath(POSITION_FILE).read_bytes()))
        except (OSError, ValueError):
            return 0

    def save_position(self, number: int) -> None:
        """Note durably that lines before `number` are no longer wanted."""
        write_durably(self._folder / POSITION_FILE, b"%d\n" % number)

    def write(self, first: int, lines: Sequence[bytes]) -> list[Segment]:
        """Append `lines`, the first of which has the number `first`, and wait until the disk has them.

        Returns:
            The files that were written to, as they are now.
        Raises:
            OSError: Not written; what the disk took of it is taken back. The next write begins a new file.
        """
        before = None if self._open is None else Segment(**vars(self._open))
        touched: dict[int, Segment] = {}
        try:
            for number, line in enumerate(lines, first):
                segment = self._append(number, line)
                touched[segment.first] = segment
            self._sync()
            if any(before is None or each != before.first for each in touched):
                sync_folder(self._folder)
        except OSError:
            self._take_back(before, touched)
            raise
        return [Segment(**vars(segment)) for segment in touched.values()]

    def read(self, segment: Segment, number: int) -> list[bytes]:
        """Return the segment's whole lines from `number` on.

        Raises:
            OSError: The disk does not give them.
        """
        lines = segment.path.read_bytes().split(b"\n")[:-1]
        return lines[number - segment.first : segment.end - segment.first]

    def remove(self, segment: Segment) -> None:
        """Delete a file; one that cannot be deleted now is found again at the next start, and its lines with it."""
        if self._open is not None and self._open.first == segment.first:
            self.close()
        with contextlib.suppress(OSError):
            segment.path.unlink()

    def close(self) -> None:
        """Let go of the open file; the next write begins a new one."""
        file, self._file, self._open = self._file, None, None
        if file is not None:
            with contextlib.suppress(OSError):
                file.close()

    def _append(self, number: int, line: bytes) -> Segment:
        segment = self._open
        is_full = segment is not None and segment.size_bytes + len(line) > self._segment_bytes
        if segment is None or is_full or segment.end != number:
            self._sync()
            self.close()
            segment = self._open = Segment(number, self._path(number), number, 0)
            self._file = segment.path.open("wb")
        assert self._file is not None
        self._file.write(line)
        segment.end += 1
        segment.size_bytes += len(line)
        return segment

    def _sync(self) -> None:
        if self._file is not None:
            self._file.flush()
            os.fsync(self._file.fileno())

    def _take_back(self, before: Segment | None, touched: dict[int, Segment]) -> None:
        """Undo a write that failed: its lines are written again, with the same numbers."""
        self.close()
        for segment in touched.values():
            with contextlib.suppress(OSError):
                if before is not None and segment.first == before.first:
                    os.truncate(segment.path, before.size_bytes)
                else:
                    segment.path.unlink()

    def _path(self, first: int) -> Path:
        return self._folder / f"{first:020d}{SUFFIX}"
