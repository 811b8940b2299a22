"""Child processes: how the control process starts, limits, ends and reaps its workers.

Decides: the environment (telemetry off, thread counts), a process group of their own, death with the agent, and what
holds the memory cap: a cgroup where one may be made, else the worker's own rlimit. Leaves out: what workers do.

Example: `spawn(Command("agent.serve.worker", (str(order),), threads=1, cap=NO_CAP))`.
"""

import contextlib
import os
import signal
import subprocess
import sys
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

CapBy = Literal["cgroup", "rlimit"]

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
_PACKAGE_ROOT = str(Path(__file__).resolve().parent.parent)
_PREFIX = "thresher-"
_V2_ROOT = Path("/sys/fs/cgroup")
_V1_ROOT = Path("/sys/fs/cgroup/memory")
GRACE_S = 3.0
"""How long a worker may take to end itself before it is killed."""


@dataclass(frozen=True)
class Cap:
    """A memory cap [bytes], what holds it, and the folder of the cgroup where that is one."""

    limit_bytes: int | None = None
    by: CapBy | None = None
    folder: Path | None = None

    @property
    def processes_file(self) -> str:
        return str(self.folder / "cgroup.procs") if self.folder is not None else ""


NO_CAP = Cap()


@dataclass(frozen=True)
class Command:
    """A worker to be started: its module, arguments, engine threads and memory cap."""

    module: str
    arguments: tuple[str, ...]
    threads: int = 1
    cap: Cap = NO_CAP


class Child:
    """A running worker: its process, and the cgroup that goes with it."""

    def __init__(self, process: subprocess.Popen[bytes], cap: Cap) -> None:
        self.process = process
        self._cap = cap

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

    def was_out_of_memory(self) -> bool:
        """Return whether the kernel killed something in the worker's cgroup for its cap."""
        if self._cap.folder is None:
            return False
        for name in ("memory.events", "memory.oom_control"):
            with contextlib.suppress(OSError):
                counts = dict(line.split() for line in (self._cap.folder / name).read_text().splitlines())
                return int(counts.get("oom_kill", "0")) > 0
        return False

    def release(self) -> None:
        """Close the pipes and drop the cgroup; only after the worker has ended."""
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        _drop_cgroup(self._cap.folder)


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
    launch = ["-m", "agent.launch", str(os.getpid()), command.cap.processes_file, command.module, *command.arguments]
    process = subprocess.Popen(
        [sys.executable, *launch],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        env=worker_environment(command.threads),
        process_group=0,
    )
    return Child(process, command.cap)


def make_cap(limit_bytes: int | None) -> Cap:
    """Return a cap for one worker: a fresh cgroup where one may be made, else an rlimit that the worker sets itself."""
    if limit_bytes is None:
        return NO_CAP
    folder = _make_cgroup(limit_bytes)
    return Cap(limit_bytes, "cgroup" if folder is not None else "rlimit", folder)


def cap_kind() -> CapBy:
    """Return what would hold a cap on this host."""
    cap = make_cap(1024**3)
    _drop_cgroup(cap.folder)
    return cap.by or "rlimit"


def drop_stale_cgroups() -> None:
    """Drop the empty cgroups that an agent which was killed left behind."""
    parent = _own_cgroup()
    for folder in parent[0].glob(f"{_PREFIX}*") if parent is not None else ():
        _drop_cgroup(folder)


def _make_cgroup(limit_bytes: int) -> Path | None:
    parent = _own_cgroup()
    if parent is None:
        return None
    folder = parent[0] / f"{_PREFIX}{os.getpid()}-{uuid.uuid4().hex[:8]}"
    try:
        folder.mkdir()
        (folder / parent[1]).write_text(str(limit_bytes), encoding="ascii")
        os.stat(folder / "cgroup.procs")
    except OSError:
        _drop_cgroup(folder)
        return None
    return folder


def _own_cgroup() -> tuple[Path, str] | None:
    """Return the folder in which leaves may be made, and the name of the file that holds the limit."""
    try:
        lines = Path("/proc/self/cgroup").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    for line in lines:
        _, controllers, name = line.split(":", 2)
        if controllers == "memory":
            inside = _V1_ROOT / name.lstrip("/")
            return (inside if inside.is_dir() else _V1_ROOT, "memory.limit_in_bytes")
        if not controllers and (_V2_ROOT / "cgroup.controllers").exists():
            return _V2_ROOT / name.lstrip("/"), "memory.max"
    return None


def _drop_cgroup(folder: Path | None) -> None:
    if folder is not None:
        with contextlib.suppress(OSError):
            folder.rmdir()
