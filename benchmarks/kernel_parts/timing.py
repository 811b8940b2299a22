"""How calls are timed against each other, and how the result is told.

Decides: calls take turns of several each, and the first ones of a turn do not count: after a call of another one, what
is measured is how much of the caches that one has left. Medians of the processor time of the one thread that calls:
what other processes take in between is no part of it. A goal that is not reached is told with a profile of ours, with
the least that the work could take here (memory read and written, or the transforms alone), and with what lies between.
Leaves out: what is called.

    ours_s, peer_s = interleaved([timed(ours), timed(peer)], rounds=30)
    held("a kernel against its peer", (ours_s, peer_s), 3.0, "the same bits")
"""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from benchmarks.common import Claim, at_least

Call = Callable[[], Any]
Timed = Callable[[], float]
"""Runs once, and returns how long it took [s]."""

TURN, COLD = 10, 2
"""Calls of a turn, and how many of them do not count."""


@dataclass(frozen=True)
class Profile:
    """Where ours spends its time, and the least that the same work could take, as measured in the same run [s]."""

    parts: Mapping[str, float]
    least: Mapping[str, float] = field(default_factory=dict)
    """Empty where the work knows no bound but its own arithmetic."""

    def told(self, ours_s: float, peer_s: float) -> str:
        if not self.least:
            return f"profile: {_listed(self.parts)}"
        least_s = sum(self.least.values())
        bound = f"{_listed(self.least)}: {peer_s / least_s:.1f} x at most"
        return f"profile: {_listed(self.parts)}; bound: {bound}; {max(ours_s - least_s, 0) * 1e3:.3f} ms remain"


def timed(call: Call) -> Timed:
    """Return the call with its time."""

    def run_once() -> float:
        start = time.thread_time()
        call()
        return time.thread_time() - start

    return run_once


def interleaved(calls: Sequence[Timed], rounds: int, turn: int = TURN, cold: int = COLD) -> list[float]:
    """Return the median time of each call [s]; the first round, in which memory is fetched, does not count."""
    times_s: list[list[float]] = [[] for _ in calls]
    for round_number in range(rounds + 1):
        for call, counted in zip(calls, times_s, strict=True):
            turn_s = [call() for _ in range(turn)]
            counted += turn_s[cold:] if round_number > 0 else []
    return [statistics.median(counted) for counted in times_s]


def memory_calls(read: NDArray[Any], written: NDArray[Any]) -> list[Timed]:
    """Return what memory alone takes: reading one array, and filling another one as large as `written`."""
    scrap = written.copy()
    return [timed(read.max), timed(lambda: scrap.fill(0))]


def held(name: str, times_s: tuple[float, float], goal: float, differ: str, profile: Profile) -> Claim:
    """Return the claim that ours is `goal` times as fast as its peer.

    Args:
        name: The claim's.
        times_s: Ours, the peer's [s].
        goal: Least ratio.
        differ: How the results compare.
        profile: Told where the goal is not reached.
    """
    ours_s, peer_s = times_s
    how = f"medians of processor time, {ours_s * 1e3:.3f} ms against {peer_s * 1e3:.3f} ms; {differ}"
    if peer_s < goal * ours_s:
        how += f"; {profile.told(ours_s, peer_s)}"
    return at_least(name, peer_s / ours_s, goal, "x", how)


def _listed(seconds: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value * 1e3:.3f} ms" for name, value in seconds.items())
