"""Cgroups for workers: one leaf a worker, made and dropped by the agent that owns it.

Decides: where leaves lie, and whose they are. All agents of a host make theirs in the same folder, and a leaf is empty
until its worker has joined: so the agent holds a lock on each leaf, which the kernel takes back when the agent ends,
however it ends. Only a leaf that nobody holds is stale. Version 2 allows no processes where there are leaves: so the
agent itself moves into a group beside them, once, where the whole group is its own (`prepare`). Leaves out: joining
(`agent/launch.py`).
"""

import contextlib
import fcntl
import logging
import os
import uuid
from dataclasses import dataclass
from pathlib import Path

log = logging.getLogger(__name__)

PREFIX = "thresher-"
CONTROL = "control"
"""The group of the agent itself, beside its leaves; systemd's `DelegateSubgroup` may have made it already."""

TRIES = 3
"""A fresh leaf may be swept between being made and being locked; that it happens again is unlikely."""

PERIOD_US = 100_000
ROOT = Path("/sys/fs/cgroup")
PROC = Path("/proc/self")


@dataclass(frozen=True)
class Place:
    """Where leaves may be made. Version 1 has a tree a controller: `cpu` is the folder in the other one."""

    memory: Path
    cpu: Path | None
    version: int

    @property
    def memory_file(self) -> str:
        return "memory.max" if self.version == 2 else "memory.limit_in_bytes"


class Leaf:
    """A cgroup that this process holds: one folder, or one a tree."""

    def __init__(self, folder: Path, lock: int) -> None:
        """Take a folder that was made and locked; `lock` is its open file descriptor."""
        self.folder = folder
        self.holds_quota = False
        self._held = [(folder, lock)]

    @property
    def processes_file(self) -> Path:
        """A process joins by writing its id here."""
        return self.folder / "cgroup.procs"

    @property
    def processes_files(self) -> tuple[Path, ...]:
        """A process joins by writing its id into all of these."""
        return tuple(folder / "cgroup.procs" for folder, _ in self._held)

    def adopt(self, other: "Leaf") -> None:
        """Hold the folders of `other` as well: they are another tree's."""
        self._held += other._held

    def was_out_of_memory(self) -> bool:
        """Return whether the kernel killed something in here for the limit."""
        for name in ("memory.events", "memory.oom_control"):
            with contextlib.suppress(OSError):
                counts = dict(line.split() for line in (self.folder / name).read_text().splitlines())
                return int(counts.get("oom_kill", "0")) > 0
        return False

    def kill(self) -> bool:
        """Kill what is in it, whoever's it is; return whether the kernel can (version 2, Linux 5.14)."""
        with contextlib.suppress(OSError), open(self.folder / "cgroup.kill", "r+", encoding="ascii") as switch:
            switch.write("1")
            return True
        return False

    def drop(self) -> None:
        """Remove the leaf and let go of it. One whose processes still end stays, and is swept later."""
        for folder, lock in self._held:
            _remove(folder)
            os.close(lock)


def prepare(root: Path = ROOT, proc: Path = PROC) -> bool:
    """Move this process out of the leaves' way, where its cgroup is its own; return whether it did. Once, at the start.

    Nothing is done under version 1, nor in a group with other processes: it is somebody else's.
    """
    group = _groups(proc).get("")
    if _v1_folder("memory", root, proc) is not None or group is None or not (root / "cgroup.controllers").exists():
        return False
    own = root / group.lstrip("/")
    try:
        if own.name == CONTROL:
            _enable(own.parent)
            return False
        if (own / "cgroup.procs").read_text().split() != [str(os.getpid())]:
            return False
        (own / CONTROL).mkdir(exist_ok=True)
        (own / CONTROL / "cgroup.procs").write_text(str(os.getpid()), encoding="ascii")
        _enable(own)
    except OSError as exc:
        log.info("no cgroups for workers: %s; rlimits hold their caps", exc)
        return False
    return True


def make_leaf(limit_bytes: int | None, quota_ratio: float | None = None, place: Place | None = None) -> Leaf | None:
    """Return a fresh leaf; None where this process may make none. Sweeps what others left, first.

    Args:
        limit_bytes: Most memory; null: no limit.
        quota_ratio: Most of one core's time (1.5: one and a half cores). A leaf without it is better than none: its
            `holds_quota` tells.
        place: Where; null: where this process may.
    """
    place = place or own_place()
    if place is None:
        return None
    sweep(place)
    leaf = _locked_leaf(place.memory)
    if leaf is None:
        return None
    try:
        if limit_bytes is not None:
            (leaf.folder / place.memory_file).write_text(str(limit_bytes), encoding="ascii")
        os.stat(leaf.processes_file)
    except OSError:
        leaf.drop()
        return None
    if quota_ratio is not None:
        leaf.holds_quota = _limit_cpu(leaf, place, quota_ratio)
    return leaf


def sweep(place: Place | None = None) -> None:
    """Remove the leaves that nobody holds and that are empty: their agent was killed.

    Args:
        place: Where the leaves are; null: where this process would make its own.
    """
    place = place or own_place()
    if place is None:
        return
    for parent in {place.memory, place.cpu} - {None}:
        for folder in parent.glob(f"{PREFIX}*") if parent is not None else ():
            lock = _locked(folder)
            if lock is not None:
                Leaf(folder, lock).drop()


def own_place(root: Path = ROOT, proc: Path = PROC) -> Place | None:
    """Return where this process may make leaves."""
    memory = _v1_folder("memory", root, proc)
    if memory is not None:
        return Place(memory, _v1_folder("cpu", root, proc), 1)
    group = _groups(proc).get("")
    if group is None or not (root / "cgroup.controllers").exists():
        return None
    own = root / group.lstrip("/")
    own = own.parent if own.name == CONTROL else own
    return Place(own, own, 2)


def _groups(proc: Path) -> dict[str, str]:
    """Return this process's group in each tree, by controller; version 2 has no name."""
    try:
        lines = (proc / "cgroup").read_text(encoding="ascii").splitlines()
    except OSError:
        return {}
    trees = [line.split(":", 2)[1:] for line in lines]
    return {controller: group for controllers, group in trees for controller in controllers.split(",")}


def _v1_folder(controller: str, root: Path, proc: Path) -> Path | None:
    group = _groups(proc).get(controller)
    tree = root / controller
    if group is None or not tree.is_dir():
        return None
    inside = tree / group.lstrip("/")
    return inside if inside.is_dir() else tree  # a container shows the host's name and its own folder


def _enable(parent: Path) -> None:
    """Hand the controllers on to the leaves, each for itself: one may be delegated and the other not."""
    for controller in ("memory", "cpu"):
        with contextlib.suppress(OSError):
            (parent / "cgroup.subtree_control").write_text(f"+{controller}", encoding="ascii")


def _limit_cpu(leaf: Leaf, place: Place, quota_ratio: float) -> bool:
    quota_us = max(1000, round(quota_ratio * PERIOD_US))
    try:
        if place.version == 2:
            (leaf.folder / "cpu.max").open("r+", encoding="ascii").close()  # where it is not there, it is not made
            (leaf.folder / "cpu.max").write_text(f"{quota_us} {PERIOD_US}", encoding="ascii")
            return True
        other = _locked_leaf(place.cpu) if place.cpu is not None else None
        if other is None:
            return False
        leaf.adopt(other)
        (other.folder / "cpu.cfs_period_us").write_text(str(PERIOD_US), encoding="ascii")
        (other.folder / "cpu.cfs_quota_us").write_text(str(quota_us), encoding="ascii")
    except OSError:
        return False
    return True


def _locked_leaf(parent: Path) -> Leaf | None:
    for _ in range(TRIES):
        folder = parent / f"{PREFIX}{os.getpid()}-{uuid.uuid4().hex[:8]}"
        try:
            folder.mkdir()
        except OSError:
            return None
        lock = _locked(folder)
        if lock is not None:
            return Leaf(folder, lock)
    return None


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
