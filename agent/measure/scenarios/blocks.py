"""What was lost to others, block by block of the timed loop: a disturbance is found in time, and not only in sum.

Decides: how long a block is, and what is read between two of them. Reading takes some 0.1 ms, outside of any sample.
Leaves out: what follows from it (`flags.py`).
"""

import time
from pathlib import Path
from typing import Any

from agent.measure import conditions
from agent.measure.protocol import GradeRule

BLOCKS = 10
"""As many in the grade's least time; a loop that runs on to its cap has more."""

MOST_BLOCKS = 64


class Blocks:
    """Readings between blocks. `due_ns` is when the next block ends, in the loop's own time."""

    def __init__(self, rule: GradeRule, root: Path = conditions.ROOT) -> None:
        self._root = root
        self._length_ns = int(rule.timed_s / BLOCKS * 1e9)
        self.due_ns = self._length_ns
        self._blocks: list[dict[str, Any]] = []
        self._last_samples = 0
        self._before = _readings(root)
        self._began_ns = time.perf_counter_ns()

    def cut(self, spent_ns: int, samples: int) -> None:
        """End a block: `spent_ns` of the loop are over, with `samples` in all."""
        if len(self._blocks) >= MOST_BLOCKS - 1:
            self.due_ns = 2**63 - 1
            return
        self._close(samples)
        self.due_ns = spent_ns + self._length_ns

    def end(self, samples: int) -> list[dict[str, Any]]:
        """End the last block, and return all of them."""
        if samples > self._last_samples:
            self._close(samples)
        return self._blocks

    def _close(self, samples: int) -> None:
        now, now_ns = _readings(self._root), time.perf_counter_ns()
        lost = {name: _difference(self._before[name], now[name]) for name in now}
        wall_s = round((now_ns - self._began_ns) / 1e9, 6)
        self._blocks.append({"samples": samples - self._last_samples, "seconds": wall_s, **lost})
        self._before, self._began_ns = now, time.perf_counter_ns()
        self._last_samples = samples


def _readings(root: Path) -> dict[str, int | None]:
    lost = conditions.interference(root)
    return {
        "run_delay_ns": lost["run_delay_ns"],
        "involuntary_switches": lost["involuntary_switches"],
        "psi_cpu_some_us": _number(root / "proc/pressure/cpu", "total=", 0),
        "steal_ticks": _number(root / "proc/stat", "cpu ", 7),
    }


def _number(path: Path, after: str, place: int) -> int | None:
    # What a kernel does not offer is null.
    try:
        return int(path.read_text().split(after, 1)[1].split()[place])
    except (OSError, ValueError, IndexError):
        return None


def _difference(before: int | None, after: int | None) -> int | None:
    return None if before is None or after is None else max(0, after - before)
