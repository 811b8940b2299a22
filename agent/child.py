"""Child processes: how the control process starts, limits, ends and reaps its workers.

Decides: the environment (telemetry off, thread counts), a process group of their own, death with the agent, and what
should hold the memory cap: a cgroup where one may be made, else an rlimit. Leaves out: what workers do, and how a child
takes its cap on (`agent/launch.py`).

Example: `spawn(Command("agent.serve.worker", (str(order),), threads=1))`.
"""

import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from agent.device.cgroup import Leaf, make_leaf
from agent.launch import LAUNCHED

log = logging.getLogger(__name__)

CapBy = Literal["cgroup", "rlimit"]

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
_PACKAGE_ROOT = str(Path(__file__).resolve().parent.parent)
LONGEST_LINE_BYTES = 1024 * 1024
GRACE_S = 3.0
"""How long a worker may take to end itself before it is killed."""


@dataclass(frozen=True)
class Command:
    """A worker to be started: its module (with a `main(arguments) -> int`), arguments, engine threads, memory cap."""

    module: str
    arguments: tuple[str, ...]
    threads: int = 1
    cap_bytes: int | None = None


class Child:
    """A running worker: its process, and the cgroup that goes with it.

    `launched`: its own main has begun; what goes wrong before is no fault of what it was to run. `cap_by`: what holds
    its memory cap, as the child itself said; null without a cap, or as long as nothing is known. Both are told by the
    first of its `lines`.
    """

    def __init__(self, process: subprocess.Popen[bytes], leaf: Leaf | None) -> None:
        self.process = process
        self.launched = False
        self.cap_by: CapBy | None = None
        self._leaf = leaf

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def kill(self) -> None:
        """End the worker and everything that it started, at once."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def wait(self, timeout_s: float | None = None) -> int | None:
        """Return the exit code (negative: the signal), or None where it still runs after `timeout_s`."""
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None

    def lines(self) -> Iterator[Mapping[str, Any]]:
        """Yield the worker's JSON lines until it ends; what is none goes to the log."""
        pipe = self.process.stdout
        while pipe is not None and (raw := pipe.readline(LONGEST_LINE_BYTES)):
            line = _parsed(raw)
            if line is not None and line.get("event") == LAUNCHED and not self.launched:
                self.launched, self.cap_by = True, line.get("memory_cap_by")
            elif line is not None:
                yield line

    def was_out_of_memory(self) -> bool:
        """Return whether the kernel killed something in the worker's cgroup for its cap."""
        return self._leaf is not None and self._leaf.was_out_of_memory()

    def release(self) -> None:
        """Close the pipes and drop the cgroup; only after the worker has ended."""
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        if self._leaf is not None:
            self._leaf.drop()
            self._leaf = None


def worker_environment(threads: int) -> dict[str, str]:
    """Return the environment of every worker: telemetry off and thread counts set before anything is imported."""
    paths = [_PACKAGE_ROOT, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        "ORT_DISABLE_TELEMETRY": "1",
        "PYTHONUNBUFFERED": "1",
        **dict.fromkeys(_THREAD_VARIABLES, str(threads)),
    }


def spawn(command: Command, errors: int | None = None) -> Child:
    """Start a worker in a process group of its own, with pipes at its stdin and stdout.

    Args:
        command: What to start. The thread that calls this must live as long as the child: Linux binds them.
        errors: File descriptor for the worker's stderr; null leaves it on the agent's.
    Raises:
        OSError: The process could not be made.
    """
    leaf = make_leaf(command.cap_bytes) if command.cap_bytes is not None else None
    cap = (str(command.cap_bytes or ""), str(leaf.processes_file) if leaf is not None else "")
    launch = ["-m", "agent.launch", str(os.getpid()), *cap, command.module, *command.arguments]
    try:
        process = subprocess.Popen(
            [sys.executable, *launch],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=worker_environment(command.threads),
            process_group=0,
        )
    except OSError:
        if leaf is not None:
            leaf.drop()
        raise
    return Child(process, leaf)


def cap_kind() -> CapBy:
    """Return what would hold a cap on this host."""
    leaf = make_leaf(1024**3)
    if leaf is None:
        return "rlimit"
    leaf.drop()
    return "cgroup"


def _parsed(raw: bytes) -> Mapping[str, Any] | None:
    try:
        line = json.loads(raw)
    except ValueError:
        log.info("worker says: %s", raw[:300].decode(errors="replace").rstrip())
        return None
    return line if isinstance(line, dict) else None
