"""An independent measurement that takes turns with the product's own process, as two variants in lock-step do.

Decides: what a peer is told, and that one which knows no turns is stopped by a signal while it is not its turn. Leaves
out: what a turn is in the product's worker, and whose turn it is (`agent/measure/lock_step`).
"""

import contextlib
import json
import os
import signal
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path

from agent.measure.lock_step.turns import END, GO, Said
from benchmarks.truth_parts.product import pinned

PATIENCE_S = 120.0
READY, ENOUGH = "ready", "enough"

STOPPED_TURN_S = 0.15
"""Some 25 runs of 6 ms, of which one is cut: its median is then the 52nd percentile of those that are whole."""


class NoTool(Exception):
    """The tool cannot be had here; the text says why."""


class Process:
    """A peer's process, held to the core that is measured on; killed where it does not end by itself in time."""

    def __init__(self, command: Sequence[str]) -> None:
        threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        environment = {**os.environ, **threads, "ORT_DISABLE_TELEMETRY": "1"}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        self.name = Path(command[0]).name
        with pinned():
            self.running = subprocess.Popen(command, env=environment, text=True, bufsize=1, **pipes)  # type: ignore[call-overload]  # three pipes
        self._limit = threading.Timer(PATIENCE_S, self.running.kill)
        self._limit.start()

    def failed(self) -> NoTool:
        """Return what to raise where it has ended too early."""
        self.running.kill()
        said = self.running.communicate()[1].strip()[-300:]
        return NoTool(f"{self.name} ended with {self.running.returncode}: {said}")

    def close(self) -> None:
        """End it."""
        self._limit.cancel()
        self.running.kill()
        self.running.communicate()


class Talking(Process):
    """A peer that is told its turns, a word a line on its stdin: `plain_loop.py` and `ort_loop.c` say how."""

    def ready(self) -> None:
        """Wait until it says so."""
        if self._hear() != READY:
            raise self.failed()

    def turn(self) -> Said:
        """Say whose turn it is, and wait until that is over."""
        self._say(GO)
        return Said(self._hear() == ENOUGH)

    def medians_ns(self) -> list[float]:
        """Return the median of each turn."""
        self._say(END)
        return [float(each) for each in json.loads(self._hear())["medians_ns"]]

    def _say(self, word: str) -> None:
        with contextlib.suppress(BrokenPipeError):  # it has ended, which is noticed as its answer is waited for
            self.running.stdin.write(f"{word}\n")

    def _hear(self) -> str:
        line = str(self.running.stdout.readline()).strip()
        if not line:
            raise self.failed()
        return line


class Stopped(Process):
    """A tool that knows no turns: it runs on in its own, and is stopped by a signal in the others.

    The run in which it was stopped lasts as long as the stop. Turns are so long that these are few, and the tool gives
    a median.
    """

    def __init__(self, command: Sequence[str], begins: str, result: Path) -> None:
        """Start the tool.

        Args:
            command: Of the tool.
            begins: What a line of its stderr contains as it begins to time.
            result: Where it leaves its result.
        """
        super().__init__(command)
        self._begins, self._result = begins, result

    def ready(self) -> None:
        """Let it run until it begins to time, and stop it there."""
        for line in self.running.stderr:
            if self._begins in line:
                break
        else:
            raise self.failed()
        self.running.send_signal(signal.SIGSTOP)

    def turn(self) -> Said:
        """Let it go on for a turn."""
        self.running.send_signal(signal.SIGCONT)
        try:
            self.running.wait(STOPPED_TURN_S)
        except subprocess.TimeoutExpired:
            self.running.send_signal(signal.SIGSTOP)
            return Said(False)
        return Said(True, full=True)

    def medians_ns(self) -> list[float]:
        """Return its median of all turns."""
        self.running.send_signal(signal.SIGCONT)
        if self.running.wait() != 0:
            raise self.failed()
        return [float(json.loads(self._result.read_bytes())["latency"]["median_ms"]) * 1e6]
