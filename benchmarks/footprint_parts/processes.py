"""What a process takes, as the kernel counts it: `/proc/PID/smaps_rollup`, `io`, `maps`.

PSS divides a page by the processes that share it, so other Python programs on this host, the benchmark among them, make
it smaller. RSS counts every page in full: no device sees more than that, whatever else runs there.
"""

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.common import MEGABYTE, Claim, at_most

HEAVY = ("numpy", "numba", "llvmlite", "onnxruntime", "ai_edge_litert", "tflite_runtime", "scipy", "cryptography")
PERIOD_S = 0.5


@dataclass(frozen=True)
class Reading:
    """One look at a process [bytes]."""

    pss: int
    rss: int


def memory_of(pid: int) -> Reading:
    """Return what a process takes now."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    found = {key: int(size) * 1024 for key, size in re.findall(r"^(Pss|Rss):\s+(\d+) kB", text, flags=re.MULTILINE)}
    return Reading(found["Pss"], found["Rss"])


def look(pids: Sequence[int], seconds: float) -> list[list[Reading]]:
    """Return readings of several processes twice a second, one at least, a list for each process."""
    readings: list[list[Reading]] = [[] for _ in pids]
    deadline = time.monotonic() + seconds
    while not readings[0] or time.monotonic() < deadline:
        for each, pid in zip(readings, pids, strict=True):
            each.append(memory_of(pid))
        time.sleep(PERIOD_S)
    return readings


def memory_claims(name: str, state: str, limit_mb: float, readings: Sequence[Reading]) -> list[Claim]:
    """Return the claims on PSS and RSS, each by its largest reading."""
    pss, rss = max(each.pss for each in readings), max(each.rss for each in readings)
    how = f"largest of {len(readings)} readings of smaps_rollup, {state}"
    alone = f"what a device that runs nothing else would see; {rss / 2**20:.1f} MiB"
    return [
        at_most(f"{name}, PSS", pss / MEGABYTE, limit_mb, "MB", how),
        at_most(f"{name}, RSS", rss / MEGABYTE, limit_mb, "MB", f"{how}; {alone}"),
    ]


def written_bytes(pid: int) -> int:
    """Return what a process has sent to the disk since its start [bytes]."""
    found = re.search(r"^write_bytes: (\d+)$", Path(f"/proc/{pid}/io").read_text(), flags=re.MULTILINE)
    return int(found[1]) if found is not None else 0


def heavy_objects(pid: int) -> list[str]:
    """Return the heavy packages of which a shared object is mapped."""
    maps = Path(f"/proc/{pid}/maps").read_text()
    return [name for name in HEAVY if re.search(rf"/{name}[/.]", maps)]


def child_running(pid: int, module: str) -> int | None:
    """Return the process below `pid` that runs a Python module; None where there is none."""
    for child in psutil.Process(pid).children(recursive=True):
        try:
            if module in child.cmdline():
                return int(child.pid)
        except psutil.Error:
            continue  # it ended while it was looked at
    return None
