"""A run in one process or in several, each with its share of the devices; what they count comes together here.

Decides: which device is in which process, and that processes end with the one that started them. Leaves out: what a
process does (`fleet.py`) and how counts are shown (`simulator/cli.py`).
"""

import itertools
import multiprocessing
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any

from simulator.classes import SimulatedClass
from simulator.device.site import Settings
from simulator.errors import ProcessEnded
from simulator.site.counts import Counts, added
from simulator.site.fleet import LocalFleet, Tell, quiet_logs

PATIENCE_S = 15.0
"""How long processes may take for their goodbyes."""


@dataclass
class _Child:
    process: SpawnProcess
    pipe: Connection
    counts: Counts = field(default_factory=Counts)
    ended: bool = False


def run_fleet(
    settings: Settings, classes: Sequence[SimulatedClass], processes: int, seconds: float | None, tell: Tell
) -> Counts:
    """Run all devices in so many processes, until `seconds` are over or a signal comes; return the counts.

    Args:
        settings: Of the run; `connects_hz` is that of all processes together.
        classes: Of the devices.
        processes: 1: this one.
        seconds: From now [s]; null: until SIGTERM or SIGINT.
        tell: Called with the counts every second.
    Raises:
        TooFewFiles: The system's limit of open files lies below the devices of one process.
        ProcessEnded: A process ended before its time.
    """
    shares = shares_of(settings.devices, processes)
    if len(shares) == 1:
        return LocalFleet(settings, classes, shares[0], tell).run(seconds)
    own = replace(settings, connects_hz=settings.connects_hz / len(shares))
    context = multiprocessing.get_context("spawn")
    children = [_start(context, own, classes, numbers, seconds) for numbers in shares]
    previous = [signal.signal(number, signal.default_int_handler) for number in (signal.SIGTERM, signal.SIGINT)]
    try:
        _listen(children, tell)
    except KeyboardInterrupt:
        _end(children)
    finally:
        for number, action in zip((signal.SIGTERM, signal.SIGINT), previous, strict=True):
            signal.signal(number, action)
        for child in children:
            child.process.kill()
    return added(child.counts for child in children)


def shares_of(devices: int, processes: int) -> list[range]:
    """Return the numbers of each process's devices: as even as can be, none empty.

    >>> shares_of(5, 2)
    [range(0, 3), range(3, 5)]
    """
    processes = max(1, min(processes, devices))
    edges = [-(-devices * place // processes) for place in range(processes + 1)]
    return [range(first, last) for first, last in itertools.pairwise(edges)]


def _start(
    context: Any, settings: Settings, classes: Sequence[SimulatedClass], numbers: range, seconds: float | None
) -> _Child:
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(settings, tuple(classes), numbers, seconds, theirs), daemon=True)
    process.start()
    theirs.close()
    return _Child(process, ours)


def _work(
    settings: Settings, classes: Sequence[SimulatedClass], numbers: range, seconds: float | None, pipe: Connection
) -> None:
    """Run in a process of its own; counts go up the pipe, and a pipe that nobody reads ends it."""
    quiet_logs()

    def tell(counts: Counts) -> bool:
        try:
            pipe.send(counts)
        except OSError:
            return False
        return True

    tell(LocalFleet(settings, classes, numbers, tell).run(seconds))


def _listen(children: list[_Child], tell: Callable[[Counts], bool]) -> None:
    """Take in counts until every process has ended by itself.

    Raises:
        ProcessEnded: One failed.
    """
    told_s = time.monotonic()
    while alive := [child for child in children if not child.ended]:
        ready = wait([child.pipe for child in alive], timeout=1.0)
        for child in alive:
            if child.pipe in ready:
                _read(child)
        if time.monotonic() - told_s >= 1.0:
            told_s = time.monotonic()
            tell(added(child.counts for child in children))


def _read(child: _Child) -> None:
    try:
        child.counts = child.pipe.recv()
    except EOFError:
        child.ended = True
        child.process.join(PATIENCE_S)
        if child.process.exitcode not in (0, -signal.SIGTERM):
            raise ProcessEnded(
                f"a process of the simulator ended with {child.process.exitcode}: what it said stands above"
            ) from None


def _end(children: list[_Child]) -> None:
    """Have all processes say goodbye, and take in their last counts."""
    for child in children:
        child.process.terminate()
    deadline = time.monotonic() + PATIENCE_S
    while alive := [child for child in children if not child.ended]:
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            return
        for pipe in wait([child.pipe for child in alive], timeout=left_s):
            _read(next(child for child in alive if child.pipe is pipe))
