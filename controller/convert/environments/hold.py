"""Who holds an environment: one installation at a time, and none while a worker runs in it.

Decides: which file is locked (`NAME.lock` beside the environment's folder). The kernel lets go of a lock when the last
process that has it open ends, however it ends.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from controller.errors import Busy

CONVERTER = "the converter environment"


def lock_file(root: Path) -> Path:
    """Return the file that stands for an environment's folder."""
    return root.with_name(root.name + ".lock")


@contextmanager
def exclusive(root: Path, called: str = CONVERTER) -> Iterator[int]:
    """Keep everybody else from an environment; give the lock's file descriptor.

    A child that inherits the descriptor holds the lock too.

    Args:
        root: Its folder.
        called: What it is, for messages.
    Raises:
        Busy: It is being installed or removed, or a worker runs in it.
    """
    root.parent.mkdir(parents=True, exist_ok=True)
    otherwise = f"{called} {root.name} is being installed or removed, or is used"
    with _locked(root, os.O_RDWR, fcntl.LOCK_EX, otherwise) as descriptor:
        yield descriptor


@contextmanager
def shared(root: Path, called: str = CONVERTER) -> Iterator[None]:
    """Keep an environment from being removed; others may do the same.

    Args:
        root: Its folder.
        called: What it is, for messages.
    Raises:
        Busy: It is being installed or removed.
    """
    with _locked(root, os.O_RDONLY, fcntl.LOCK_SH, f"{called} {root.name} is being installed or removed"):
        yield


@contextmanager
def _locked(root: Path, mode: int, how: int, otherwise: str) -> Iterator[int]:
    descriptor = os.open(lock_file(root), mode | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(descriptor, how | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Busy(f"{otherwise}; try again when that is done") from None
        yield descriptor
    finally:
        os.close(descriptor)
