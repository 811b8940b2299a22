"""The readings of one moment, and what this process has lost to others so far.

Decides: which readings make a snapshot. All are counters or states; what follows from two of them is `judge.py`'s.
"""

from pathlib import Path
from typing import Any

from agent.measure.conditions.confines import quota_throttled
from agent.measure.conditions.firmware import arm_hz, throttled
from agent.measure.conditions.heat import cooling, temperatures_celsius
from agent.measure.conditions.processor import clocks, swapped_pages, throttle_counts, throttle_time_ms, ticks
from agent.measure.conditions.read import ROOT, attempt, lines, text
from agent.measure.conditions.supply import power_source

_PRESSURES = (("cpu", "some"), ("memory", "some"), ("memory", "full"), ("io", "some"), ("io", "full"))


def snapshot(root: Path = ROOT) -> dict[str, Any]:
    """Return the readings of this moment; null where the device does not offer one."""
    bits, bits_by = throttled(root)
    load = (text(root / "proc/loadavg") or "").split()
    return {
        **clocks(root),
        "temperatures_celsius": temperatures_celsius(root),
        "cooling": cooling(root),
        "throttled_bits": bits,
        "throttled_by": bits_by,
        "firmware_arm_hz": arm_hz(root),
        "throttle_counts": throttle_counts(root),
        "throttle_time_ms": throttle_time_ms(root),
        "power_source": power_source(root),
        **{f"psi_{what}_{who}_avg10": pressure(root, what, who) for what, who in _PRESSURES},
        "load_1m": attempt(lambda: float(load[0])),
        "running": attempt(lambda: int(load[3].partition("/")[0])),
        **ticks(root),
        "swapped_pages": swapped_pages(root),
        **quota_throttled(root),
    }


def interference(root: Path = ROOT) -> dict[str, int | None]:
    """Return what this process has used and has lost to others since it started, all threads together.

    Source: Linux, Documentation/scheduler/sched-stats.rst: time on a processor, time waiting for one [ns].
    """
    spent = [_schedstat(path) for path in _threads(root, "schedstat")]
    known = [pair for pair in spent if pair is not None]
    switches = [_involuntary_switches(path) for path in _threads(root, "status")]
    return {
        "cpu_ns": _total([on_cpu for on_cpu, _ in known]),
        "run_delay_ns": _total([waited for _, waited in known]),
        "involuntary_switches": _total([count for count in switches if count is not None]),
    }


def pressure(root: Path, what: str, who: str = "some") -> float | None:
    """Return the share of the last ten seconds in which somebody waited for `what` [%]; None without PSI.

    Args:
        root: Of the file system.
        what: `cpu`, `memory`, `io`.
        who: `some`: at least one process; `full`: all of them at once.
    """
    row = _line(root / "proc/pressure" / what, who + " ")
    return attempt(lambda: float(row.split("avg10=")[1].split()[0]))


def _threads(root: Path, name: str) -> list[Path]:
    return attempt(lambda: sorted((root / "proc/self/task").glob(f"*/{name}"))) or []


def _schedstat(path: Path) -> tuple[int, int] | None:
    parts = (text(path) or "").split()
    return attempt(lambda: (int(parts[0]), int(parts[1])))


def _involuntary_switches(path: Path) -> int | None:
    row = _line(path, "nonvoluntary_ctxt_switches")
    return attempt(lambda: int(row.split()[1]))


def _line(path: Path, begin: str) -> str:
    return next((line for line in lines(path) if line.startswith(begin)), "")


def _total(readings: list[int]) -> int | None:
    return sum(readings) if readings else None
