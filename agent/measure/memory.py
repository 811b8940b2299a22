"""How much memory a worker really took.

Decides: the source. `memory.peak` where this process is alone in a cgroup v2 leaf; else VmHWM after writing 5 to
`clear_refs`. Never `ru_maxrss`: it survives exec and reports the parent's peak. Proportional and unique sizes are read
at the ends of phases alone: the kernel walks all pages for them, and a reading every 5 ms doubled the median latency.
"""

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wire.trial import MemoryUse

PROC = Path("/proc/self")
CGROUPS = Path("/sys/fs/cgroup")
_WRITABLE = 0o222


class MemoryMeter:
    """Notes the baseline when it is made, what is loaded when told, and the peak at the end."""

    def __init__(self, proc: Path = PROC, cgroups: Path = CGROUPS) -> None:
        self._proc = proc
        leaf = own_leaf(proc, cgroups)
        self._leaf = None if leaf is None else _Leaf(leaf)
        self._was_reset = reset_peak(proc)
        self._baseline = self._now()
        self._loaded = self._baseline
        self._loaded_shares: dict[str, int] = {}

    def loaded(self) -> None:
        """Note that everything is loaded: what is in use now belongs to the worker at rest."""
        self._loaded = self._now()
        self._loaded_shares = shares(self._proc)

    def use(self) -> "MemoryUse":
        """Return baseline, load and the peak until now."""
        from wire.trial import MemoryUse  # a serving worker measures its memory and says nothing of trials

        leaf = self._leaf
        kinds = leaf.kinds() if leaf is not None else resident_kinds(self._proc)
        return MemoryUse(
            baseline_bytes=self._baseline,
            loaded_bytes=self._loaded,
            peak_bytes=leaf.peak_bytes() if leaf is not None else peak_rss_bytes(self._proc),
            by="cgroup_v2" if leaf is not None else self._by(),
            anonymous_bytes=kinds.get("anon"),
            file_bytes=kinds.get("file"),
            loaded_pss_bytes=self._loaded_shares.get("pss"),
            loaded_uss_bytes=self._loaded_shares.get("uss"),
        )

    def _by(self) -> str:
        """A peak that could not be reset is that since the process began, its interpreter's start included."""
        return "vm_hwm" if self._was_reset else "vm_hwm_since_exec"

    def _now(self) -> int:
        return self._leaf.now_bytes() if self._leaf is not None else rss_bytes(self._proc)


class _Leaf:
    """A cgroup v2 folder in which this process is alone.

    Its peak starts again from now where the kernel can do that: since Linux 6.12, for the descriptor that was written
    to, so that it stays open. Else the leaf is as old as the process. Source: Linux, admin-guide/cgroup-v2.rst.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._peak = _opened(folder / "memory.peak")

    def now_bytes(self) -> int:
        return int((self._folder / "memory.current").read_text())

    def peak_bytes(self) -> int:
        return int(os.pread(self._peak, 64, 0))

    def kinds(self) -> dict[str, int]:
        """Return what is in use, by `anon` and `file` [bytes]: files' pages can be dropped, the others cannot."""
        with contextlib.suppress(OSError, ValueError):
            rows = [line.split() for line in (self._folder / "memory.stat").read_text().splitlines()]
            return {row[0]: int(row[1]) for row in rows if row[0] in {"anon", "file"}}
        return {}


def reset_peak(proc: Path = PROC) -> bool:
    """Let VmHWM start again from what is resident now; return whether the kernel did.

    Source: proc(5), clear_refs, since Linux 4.0.
    """
    try:
        (proc / "clear_refs").write_text("5")
    except OSError:  # containers and some kernels do not offer it
        return False
    return True


def rss_bytes(proc: Path = PROC) -> int:
    """Return what is resident now [bytes]."""
    return _field_bytes(proc / "status", "VmRSS")


def peak_rss_bytes(proc: Path = PROC) -> int:
    """Return the largest resident size since the last reset [bytes]."""
    return _field_bytes(proc / "status", "VmHWM")


def resident_kinds(proc: Path = PROC) -> dict[str, int]:
    """Return what is resident, by `anon` and `file` [bytes]; a kind that the kernel does not tell is not there."""
    fields = {"anon": "RssAnon", "file": "RssFile"}
    return {kind: size for kind, field in fields.items() if (size := _size(proc / "status", field)) is not None}


def shares(proc: Path = PROC) -> dict[str, int]:
    """Return the proportional and the unique size, `pss` and `uss` [bytes]; empty where the kernel does not tell.

    Walks all pages: some milliseconds. Source: proc(5), smaps_rollup, since Linux 4.14.
    """
    parts = {name: _size(proc / "smaps_rollup", name) for name in ("Pss", "Private_Clean", "Private_Dirty")}
    pss, clean, dirty = parts.values()
    if pss is None or clean is None or dirty is None:
        return {}
    return {"pss": pss, "uss": clean + dirty}


def own_leaf(proc: Path = PROC, cgroups: Path = CGROUPS) -> Path | None:
    """Return this process's cgroup v2 folder if it is alone in it and the kernel keeps a peak there; else None."""
    for line in (proc / "cgroup").read_text().splitlines():
        if line.startswith("0::/"):
            leaf = cgroups / line[4:]
            alone = _lines(leaf / "cgroup.procs") == 1
            return leaf if alone and (leaf / "memory.peak").is_file() else None
    return None


def _opened(peak: Path) -> int:
    """Open the peak, and let it start again where its file may be written to."""
    if peak.stat().st_mode & _WRITABLE:
        with contextlib.suppress(OSError):  # a sandbox or a mount may forbid what the file's mode allows
            opened = os.open(peak, os.O_RDWR | os.O_CLOEXEC)
            with contextlib.suppress(OSError):
                os.write(opened, b"reset\n")
            return opened
    return os.open(peak, os.O_RDONLY | os.O_CLOEXEC)


def _lines(path: Path) -> int:
    return len(path.read_text().split()) if path.is_file() else 0


def _field_bytes(path: Path, field: str) -> int:
    size = _size(path, field)
    if size is None:
        raise OSError(f"{path} has no {field}")
    return size


def _size(path: Path, field: str) -> int | None:
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in path.read_text().splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1]) * 1024
    return None
