"""Folders and files that appear whole or not at all, also when a process is killed or the disk is full.

Decides: where unfinished work lies (`.partial-{pid}-…` beside its final place) and when it is swept away. Leaves out:
what is written.

    with unfinished_folder(root) as partial:
        ...  # fill it
        os.replace(partial, root / "final")
"""

import errno
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from controller.errors import DiskFull

PREFIX = ".partial-"
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})


@contextmanager
def unfinished_folder(root: Path) -> Iterator[Path]:
    """Give a new folder under `root`; whatever is left of it at the end is removed.

    Raises:
        DiskFull: Something in the block found no room.
    """
    partial = root / f"{PREFIX}{os.getpid()}-{uuid.uuid4().hex}"
    try:
        partial.mkdir(parents=True)
        yield partial
    except OSError as exc:
        if means_no_room(exc):
            raise disk_full(root) from exc
        raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def means_no_room(exc: OSError) -> bool:
    """Tell whether an error means a full disk or a spent quota."""
    return exc.errno in _NO_ROOM


def disk_full(where: Path) -> DiskFull:
    """Return the error for a disk without room."""
    return DiskFull(f"{where}: no room on this disk; free some, then try again")


def write_whole(path: Path, content: bytes) -> None:
    """Write a file, on disk when this returns, whole or not at all.

    Raises:
        DiskFull: No room.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with unfinished_folder(path.parent) as partial:
        write_synced(partial / path.name, content)
        os.replace(partial / path.name, path)


def write_synced(path: Path, content: bytes) -> None:
    """Write a file and wait until the disk has it."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def sweep_unfinished(root: Path) -> None:
    """Remove what processes that are gone left under `root`."""
    for partial in root.glob(f"{PREFIX}*"):
        pid = partial.name.removeprefix(PREFIX).split("-")[0]
        if not pid.isdigit() or not _alive(int(pid)):
            shutil.rmtree(partial, ignore_errors=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
