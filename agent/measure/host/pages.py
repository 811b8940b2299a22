"""Files out of memory, so that a load is cold; and how much of them is in memory, so that it is known to be.

Decides: which files a load reads, and which of them make it a cold one: the bundle's. Pages that a running process has
mapped stay where they are (a serving worker has its engine's), and so do all on a file system in memory. Source:
posix_fadvise(2), mincore(2).
"""

import contextlib
import ctypes
import importlib.util
import mmap
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from agent.inference.engines.table import TABLE

COLD_RATIO = 0.05
"""Up to so many pages left in memory, a load is cold: the file system reads a little ahead."""

_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.mmap.restype = ctypes.c_void_p
_LIBC.mmap.argtypes = (
    ctypes.c_void_p,
    ctypes.c_size_t,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_long,
)
_LIBC.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
_LIBC.mincore.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p)
_FAILED = ctypes.c_void_p(-1).value


def bundle_files(bundle: Path) -> list[Path]:
    """Return the files of a bundle's folder."""
    return [path for path in bundle.rglob("*") if path.is_file()]


def engine_files(engine: str) -> list[Path]:
    """Return the shared libraries of an engine that is installed."""
    entry = TABLE.get(engine)
    found = importlib.util.find_spec(entry.library) if entry is not None else None
    folders = [Path(place) / entry.below for place in found.submodule_search_locations or ()] if entry and found else []
    return [path for folder in folders for path in folder.rglob("*.so*") if path.is_file()]


def drop(files: Iterable[Path]) -> None:
    """Ask the kernel to drop the pages of `files`; written ones are written first."""
    for path in files:
        with contextlib.suppress(OSError), _opened(path) as descriptor:
            os.fdatasync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)


def resident_ratio(files: Iterable[Path]) -> float | None:
    """Return which share of the pages of `files` is in memory; None where none of them may be looked at.

    The kernel tells it only of files that are ours, or that we may write: of others it says that all is there.
    """
    pages = resident = 0
    for path in files:
        if _may_look(path):
            with contextlib.suppress(OSError):
                counts = _count(path)
                pages, resident = pages + counts[0], resident + counts[1]
    return resident / pages if pages else None


def _may_look(path: Path) -> bool:
    with contextlib.suppress(OSError):
        return os.geteuid() in (0, path.stat().st_uid) or os.access(path, os.W_OK)
    return False


def _count(path: Path) -> tuple[int, int]:
    """Return (pages, those in memory).

    Raises:
        OSError: The file cannot be mapped.
    """
    with _opened(path) as descriptor:
        size = os.fstat(descriptor).st_size
        if size == 0:
            return 0, 0
        address = _LIBC.mmap(None, size, mmap.PROT_READ, mmap.MAP_SHARED, descriptor, 0)
    if address in (None, _FAILED):
        raise OSError(ctypes.get_errno(), f"{path} cannot be mapped")
    try:
        pages = -(-size // mmap.PAGESIZE)
        states = (ctypes.c_ubyte * pages)()
        if _LIBC.mincore(address, size, states) != 0:
            raise OSError(ctypes.get_errno(), f"mincore of {path}")
        return pages, sum(state & 1 for state in states)
    finally:
        _LIBC.munmap(address, size)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
