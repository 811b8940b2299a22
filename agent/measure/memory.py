"""How much memory a worker really took.

Decides: the source. `memory.peak` where this process is alone in a cgroup v2 leaf; else VmHWM after writing 5 to
`clear_refs`. Never `ru_maxrss`: it survives exec and reports the parent's peak.
"""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wire.trial import MemoryUse

PROC = Path("/proc/self")
CGROUPS = Path("/sys/fs/cgroup")


class MemoryMeter:
    """Notes the baseline when it is made, what is loaded when told, and the peak at the end."""

    def __init__(self, proc: Path = PROC, cgroups: Path = CGROUPS) -> None:
        self._proc = proc
        self._leaf = own_leaf(proc, cgroups)
        reset_peak(proc)
        self._baseline = self._now()
        self._loaded = self._baseline

    def loaded(self) -> None:
        """Note that everything is loaded: what is in use now belongs to the worker at rest."""
        self._loaded = self._now()

    def use(self) -> "MemoryUse":
        """Return baseline, load and the peak until now."""
        from wire.trial import MemoryUse  # a serving worker measures its memory and says nothing of trials

        peak = (self._leaf / "memory.peak") if self._leaf else None
        return MemoryUse(
            baseline_bytes=self._baseline,
            loaded_bytes=self._loaded,
            peak_bytes=int(peak.read_text()) if peak else peak_rss_bytes(self._proc),
            by="cgroup_v2" if peak else "vm_hwm",
        )

    def _now(self) -> int:
        return int((self._leaf / "memory.current").read_text()) if self._leaf else rss_bytes(self._proc)


def reset_peak(proc: Path = PROC) -> None:
    """Let VmHWM start again from what is resident now. Source: proc(5), clear_refs, since Linux 4.0."""
    (proc / "clear_refs").write_text("5")


def rss_bytes(proc: Path = PROC) -> int:
    """Return what is resident now [bytes]."""
    return _field_bytes(proc, "VmRSS")


def peak_rss_bytes(proc: Path = PROC) -> int:
    """Return the largest resident size since the last reset [bytes]."""
    return _field_bytes(proc, "VmHWM")


def own_leaf(proc: Path = PROC, cgroups: Path = CGROUPS) -> Path | None:
    """Return this process's cgroup v2 folder if it is alone in it and the kernel keeps a peak there; else None."""
    for line in (proc / "cgroup").read_text().splitlines():
        if line.startswith("0::/"):
            leaf = cgroups / line[4:]
            alone = _lines(leaf / "cgroup.procs") == 1
            return leaf if alone and (leaf / "memory.peak").is_file() else None
    return None


def _lines(path: Path) -> int:
    return len(path.read_text().split()) if path.is_file() else 0


def _field_bytes(proc: Path, field: str) -> int:
    for line in (proc / "status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise OSError(f"{proc / 'status'} has no {field}")
