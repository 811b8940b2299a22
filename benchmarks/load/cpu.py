"""Processor time of a process in nanoseconds: the scheduler's own count, finer than the clock ticks of `stat`."""

import os
from pathlib import Path

TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")


def cpu_ns(pid: int | None = None) -> int:
    """Return what all threads of a process (this one by default) have run so far [ns].

    Raises:
        OSError: It has ended.
    """
    threads = list(Path(f"/proc/{pid or 'self'}/task").iterdir())
    counted = sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads if _counts(thread))
    return counted or _ticks(pid) * TICK_NS


def _counts(thread: Path) -> bool:
    """Whether the kernel counts run time; not all do."""
    return (thread / "schedstat").exists()


def _ticks(pid: int | None) -> int:
    fields = Path(f"/proc/{pid or 'self'}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])
