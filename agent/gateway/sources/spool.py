"""The files of a watched folder: which are there, what is in them, and where they go. Blocking; called in a thread.

Decides: what is never taken (names that begin with a dot or end as unfinished ones do, links, folders), how a file
becomes a query, what `done/` and `rejected/` hold. Leaves out: when a file is finished, what is asked (`folder.py`).
"""

import contextlib
import csv
import math
import os
import stat
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from agent.gateway.base import Query, SourceLost
from agent.gateway.sources.readings import BadReading
from agent.serve.settings import FolderSource

DONE, REJECTED = "done", "rejected"
REASON_SUFFIX = ".reason.txt"
_UNFINISHED = (".part", ".tmp", ".crdownload", ".swp", "~")
_LARGEST_REASON = 2000


@dataclass(frozen=True)
class Look:
    """A file as it was seen."""

    name: str
    size_bytes: int
    mtime_ns: int
    inode: int


class Spool:
    """The folder of one source."""

    def __init__(self, settings: FolderSource) -> None:
        self._settings = settings
        self._folder = settings.path

    def look(self) -> list[Look]:
        """Return the files that are there, the oldest first.

        Raises:
            SourceLost: The folder is gone, or may not be read or changed.
        """
        try:
            with os.scandir(self._folder) as entries:
                found = [look for entry in entries if (look := self._look_at(entry)) is not None]
        except OSError as exc:
            raise SourceLost(f"{self._folder} cannot be watched: {exc}; make it, readable for the agent") from exc
        if not os.access(self._folder, os.W_OK | os.X_OK):
            raise SourceLost(f"{self._folder} cannot be watched: files could not be set aside; make it writable")
        return sorted(found, key=lambda look: (look.mtime_ns, look.name))

    def _look_at(self, entry: "os.DirEntry[str]") -> Look | None:
        name = entry.name
        if name.startswith(".") or name.lower().endswith(_UNFINISHED) or not fnmatchcase(name, self._settings.pattern):
            return None
        try:
            seen = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            return None
        if not stat.S_ISREG(seen.st_mode):
            return None
        return Look(name, seen.st_size, seen.st_mtime_ns, seen.st_ino)

    def load(self, look: Look) -> Query | None:
        """Return what is asked about a file; None where it is gone, or has changed.

        Raises:
            BadReading: It holds no query.
        """
        if look.size_bytes > self._settings.largest_bytes:
            most = f"at most {self._settings.largest_bytes} are read"
            raise BadReading("file_too_large", f"{look.size_bytes} bytes, {most}")
        content = self._read(look)
        return None if content is None else query_of(look.name, content)

    def _read(self, look: Look) -> bytes | None:
        try:
            # No link is followed, and a pipe that took the file's place cannot hold the reader up.
            file = os.open(self._folder / look.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        except OSError as exc:
            raise BadReading("file_unreadable", f"it cannot be opened: {exc.strerror}") from exc
        with open(file, "rb") as stream:
            seen = os.fstat(file)
            if not stat.S_ISREG(seen.st_mode) or (seen.st_size, seen.st_ino) != (look.size_bytes, look.inode):
                return None
            try:
                content = stream.read(look.size_bytes)
            except OSError as exc:
                raise BadReading("file_unreadable", f"it cannot be read: {exc.strerror}") from exc
        return content if len(content) == look.size_bytes else None

    def finish(self, look: Look) -> None:
        """Delete an answered file, or move it to `done/`.

        Raises:
            SourceLost: It cannot be done.
        """
        if self._settings.after == "move":
            self._move(look.name, DONE)
            return
        with _or_lost(self._folder / look.name):
            (self._folder / look.name).unlink(missing_ok=True)

    def reject(self, look: Look, reason: str, detail: str) -> None:
        """Move a file to `rejected/`, the reason beside it.

        Raises:
            SourceLost: It cannot be done.
        """
        self._move(look.name, REJECTED)
        note = self._folder / REJECTED / f"{look.name}{REASON_SUFFIX}"
        with _or_lost(note):
            note.write_text(f"{reason}: {detail}"[:_LARGEST_REASON] + "\n", encoding="utf-8")

    def prune(self) -> None:
        """Delete the oldest files of `done/` and `rejected/` that are too many."""
        for aside in (DONE, REJECTED):
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                self._prune(self._folder / aside)

    def _prune(self, aside: Path) -> None:
        with os.scandir(aside) as entries:
            names = [(entry.stat(follow_symlinks=False).st_mtime_ns, entry.name) for entry in entries]
        files = sorted(each for each in names if not each[1].endswith(REASON_SUFFIX))
        for _, name in files[: max(0, len(files) - self._settings.keep)]:
            (aside / name).unlink(missing_ok=True)
            (aside / f"{name}{REASON_SUFFIX}").unlink(missing_ok=True)

    def _move(self, name: str, aside: str) -> None:
        with _or_lost(self._folder / name):
            (self._folder / aside).mkdir(exist_ok=True)
            with contextlib.suppress(FileNotFoundError):  # somebody else took it away
                os.replace(self._folder / name, self._folder / aside / name)


@contextlib.contextmanager
def _or_lost(path: Path) -> Iterator[None]:
    """A file that cannot be set aside ends the source for now: it would be asked about again and again."""
    try:
        yield
    except OSError as exc:
        raise SourceLost(f"{path} cannot be set aside: {exc}; make its folder writable") from exc


def query_of(name: str, content: bytes) -> Query:
    """Return what is asked about a file's content.

    Raises:
        BadReading: Its kind is not known, or it is empty, or no table of numbers.
    """
    origin = {"source": "folder", "file": name}
    kind = name.lower().rsplit(".", 1)[-1] if "." in name else ""
    if not content:
        raise BadReading("file_malformed", "it is empty")
    if kind == "npy":
        return Query(content, "npy", origin=origin)
    if kind == "json":
        return Query(content, "json", origin=origin)
    if kind == "csv":
        values, shape = read_csv(content)
        return Query(values, "raw", "float64", shape, origin=origin)
    raise BadReading("file_unknown_kind", "a name that ends in .npy, .json or .csv is expected")


def read_csv(content: bytes) -> tuple[bytes, tuple[int, ...]]:
    """Return a table's numbers as float64 and its shape: a row a channel; a single row is (features,).

    Raises:
        BadReading: Not numbers, or rows of different lengths.
    """
    try:
        rows = [row for row in csv.reader(content.decode("utf-8-sig").splitlines(), strict=True) if row]
    except (UnicodeDecodeError, csv.Error) as exc:
        raise BadReading("file_malformed", f"no CSV: {exc}") from exc
    lengths = {len(row) for row in rows}
    if len(lengths) != 1:
        raise BadReading("file_malformed", f"rows of {sorted(lengths)[:5]} values: all must have as many")
    values = array("d", (_cell(cell, number) for number, row in enumerate(rows, 1) for cell in row))
    return values.tobytes(), (len(rows), lengths.pop()) if len(rows) > 1 else (len(values),)


def _cell(text: str, row: int) -> float:
    try:
        value = float(text)
    except ValueError as exc:
        raise BadReading("file_malformed", f"row {row}: {text[:40]!r} is no number") from exc
    if not math.isfinite(value):
        raise BadReading("file_malformed", f"row {row}: {text[:40]!r} is not finite")
    return value
