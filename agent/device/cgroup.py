"""Memory cgroups for workers: one leaf a worker, made and dropped by the agent that owns it.

Decides: where leaves lie, and whose they are. All agents of a host make theirs in the same folder, and a leaf is empty
until its worker has joined: so the agent holds a lock on each leaf, which the kernel takes back when the agent ends,
however it ends. Only a leaf that nobody holds is stale. Leaves out: joining (`agent/launch.py`).
"""

import contextlib
import fcntl
import os
import uuid
from pathlib import Path

PREFIX = "thresher-"
TRIES = 3
"""A fresh leaf may be swept between being made and being locked; that it happens again is unlikely."""

_V2_ROOT = Path("/sys/fs/cgroup")
_V1_ROOT = Path("/sys/fs/cgroup/memory")


class Leaf:
    """A memory cgroup that this process holds."""

    def __init__(self, folder: Path, lock: int) -> None:
        """Take a folder that was made and locked; `lock` is its open file descriptor."""
        self.folder = folder
        self._lock = lock

    @property
    def processes_file(self) -> Path:
        """A process joins by writing its id here."""
        return self.folder / "cgroup.procs"

    def was_out_of_memory(self) -> bool:
        """Return whether the kernel killed something in here for the limit."""
        for name in ("memory.events", "memory.oom_control"):
            with contextlib.suppress(OSError):
                counts = dict(line.split() for line in (self.folder / name).read_text().splitlines())
                return int(counts.get("oom_kill", "0")) > 0
        return False

    def drop(self) -> None:
        """Remove the leaf and let go of it. One whose processes still end stays, and is swept later."""
        _remove(self.folder)
        os.close(self._lock)


def make_leaf(limit_bytes: int) -> Leaf | None:
    """Return a fresh leaf with a limit; None where this process may make none. Sweeps what others left, first."""
    found = _own_cgroup()
    if found is None:
        return None
    parent, limit_name = found
    sweep(parent)
    for _ in range(TRIES):
        leaf = _fresh(parent)
        if leaf is None:
            continue
        try:
            (leaf.folder / limit_name).write_text(str(limit_bytes), encoding="ascii")
            os.stat(leaf.processes_file)
        except OSError:
            leaf.drop()
            continue
        return leaf
    return None


def sweep(parent: Path | None = None) -> None:
    """Remove the leaves that nobody holds and that are empty: their agent was killed.

    Args:
        parent: Folder of the leaves; null: where this process would make its own.
    """
    if parent is None:
        found = _own_cgroup()
        if found is None:
            return
        parent = found[0]
    for folder in parent.glob(f"{PREFIX}*"):
        lock = _locked(folder)
        if lock is not None:
            Leaf(folder, lock).drop()


def _fresh(parent: Path) -> Leaf | None:
    folder = parent / f"{PREFIX}{os.getpid()}-{uuid.uuid4().hex[:8]}"
    try:
        folder.mkdir()
    except OSError:
        return None
    lock = _locked(folder)
    return Leaf(folder, lock) if lock is not None else None


def _locked(folder: Path) -> int | None:
    """Return a descriptor that holds `folder`; None where another one holds it, or it is gone."""
    try:
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        return None
    return lock


def _remove(folder: Path) -> None:
    with contextlib.suppress(OSError):
        folder.rmdir()


def _own_cgroup() -> tuple[Path, str] | None:
    """Return the folder in which leaves may be made, and the name of the file that holds the limit."""
    try:
        lines = Path("/proc/self/cgroup").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    for line in lines:
        _, controllers, name = line.split(":", 2)
        if controllers == "memory":
            inside = _V1_ROOT / name.lstrip("/")
            return (inside if inside.is_dir() else _V1_ROOT, "memory.limit_in_bytes")
        if not controllers and (_V2_ROOT / "cgroup.controllers").exists():
            return _V2_ROOT / name.lstrip("/"), "memory.max"
    return None
