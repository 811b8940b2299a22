"""Files that survive a power cut: written whole, synced, then renamed into place.

Leaves out: what is written. Example: `write_durably(folder / "state.json", content)`.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agent.errors import DiskFull

WRITE_FAULTS = (DiskFull, OSError)
"""What a write may end with. Beside a full disk: a worn card, which the kernel then mounts read-only."""

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn "no space left" into `DiskFull`, which names `path` and says what to do; other errors pass through."""
    try:
        yield
    except OSError as exc:
        if exc.errno not in _NO_ROOM:
            raise
        raise DiskFull(
            f"no room on the disk for {path}: free some space, the agent goes on with the next desired document"
        ) from exc


def fault_reason(exc: DiskFull | OSError) -> str:
    """Return the reason that is told of one of `WRITE_FAULTS`."""
    return exc.reason if isinstance(exc, DiskFull) else "disk_error"


def write_durably(path: Path, content: bytes) -> None:
    """Replace `path` by `content`: a reader, or a restart after a power cut, sees the old file or the new one.

    Raises:
        DiskFull: No room; the old file stays.
        OSError: Anything else.
    """
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        waiting = path.with_name(path.name + ".tmp")
        waiting.unlink(missing_ok=True)  # what a power cut left, or a link that someone planted
        write_synced(waiting, content, os.O_EXCL)
        os.replace(waiting, path)
        sync_folder(path.parent)


def write_synced(path: Path, content: bytes, flags: int = 0) -> None:
    """Write `content` and wait until the disk has it; the name itself is not synced. A symbolic link is refused."""
    flags |= os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
    with os.fdopen(os.open(path, flags, 0o666), "wb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())


def sync_folder(folder: Path) -> None:
    """Wait until the disk has the names in `folder`."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
