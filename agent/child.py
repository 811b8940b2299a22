"""Child processes: how the control process starts, limits, ends and reaps its workers.

Decides: the environment (nothing secret, telemetry off, thread counts), a process group of their own, death with the
agent, what a worker may see, and what should hold its limits: a cgroup where one may be made, else an rlimit. Leaves
out: what workers do, and how a child takes limits and sandbox on (`agent/launch.py`).

Example: `spawn(Command("agent.serve.worker", (str(order),), threads=1))`.
"""

import contextlib
import errno
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from agent.device.cgroup import Leaf, make_leaf
from agent.device.sandbox import identity
from agent.device.sandbox.environment import scrubbed
from agent.launch import LAUNCHED, NOT_LAUNCHED

log = logging.getLogger(__name__)

CapBy = Literal["cgroup", "rlimit"]
SandboxMode = Literal["best_effort", "required", "off"]

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
_PACKAGE_ROOT = str(Path(__file__).resolve().parent.parent)
LONGEST_LINE_BYTES = 1024 * 1024
GRACE_S = 3.0
"""How long a worker may take to end itself before it is killed."""

SEND_TIMEOUT_S = 2.0
"""A child that leaves its commands unread for so long is not heard any more."""

_CLOSED = frozenset({errno.EPIPE, errno.ECONNRESET, errno.EBADF, errno.ENOTCONN})


@dataclass(frozen=True)
class Command:
    """A worker to be started: its module (with a `main(arguments) -> int`), arguments, limits, and what it may see.

    `stdin_socket`: its stdin is an end of a Unix socket, so that descriptors can be sent to it (`Child.send`).
    `readable`, `writable`: files and folders that it may use besides interpreter and libraries. Where neither is given,
    nothing is said about files. `network`: it may make sockets and connect them. `user`: a user of its own, where the
    agent may change to it. `cpu_quota_ratio`: 0.5 is half of one core's time. `own_leaf`: a cgroup of its own, even
    where nothing is limited, so that its memory is counted apart.
    """

    module: str
    arguments: tuple[str, ...]
    threads: int = 1
    cap_bytes: int | None = None
    stdin_socket: bool = False
    readable: tuple[Path, ...] = ()
    writable: tuple[Path, ...] = ()
    network: bool = False
    user: str | None = None
    cores: tuple[int, ...] | None = None
    nice: int = 0
    cpu_quota_ratio: float | None = None
    own_leaf: bool = False
    sandbox: SandboxMode = "best_effort"

    def settings(self, leaf: Leaf | None) -> dict[str, Any]:
        """Return what `agent/launch.py` is told of all this, once files are handed over to the worker's user."""
        return {
            "parent": os.getpid(),
            "cap_bytes": self.cap_bytes,
            "cgroups": [str(path) for path in leaf.processes_files] if leaf is not None else [],
            "cores": self.cores,
            "nice": self.nice,
            "quota_ratio": self.cpu_quota_ratio,
            "quota_by": "cgroup" if leaf is not None and leaf.holds_quota else None,
            "mode": self.sandbox,
            "network": self.network,
            "readable": [str(path) for path in self.readable],
            "writable": [str(path) for path in self.writable],
            "user": self.user,
            "lacks": _hand_over(self),
        }


class Child:
    """A running worker: its process, and the cgroup that goes with it.

    `launched`: its own main has begun; what goes wrong before is no fault of what it was to run. `cap_by`: what holds
    its memory cap, as the child itself said; null without a cap, or as long as nothing is known. `sandbox`: what it is
    confined by. All are told by the first of its `lines`. `refusal`: why it did not become the worker, if it said so.
    `socket`: the other end of its stdin, where that is a socket.
    """

    def __init__(
        self, process: subprocess.Popen[bytes], leaf: Leaf | None, commands: socket.socket | None = None
    ) -> None:
        self.process = process
        self.launched = False
        self.cap_by: CapBy | None = None
        self.sandbox: Mapping[str, Any] = {}
        self.refusal = ""
        self.socket = commands
        self._sending = threading.Lock()
        self._leaf = leaf

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def kill(self) -> None:
        """End the worker and everything that it started, at once."""
        leaf = self._leaf
        reached = leaf is not None and leaf.kill()
        try:
            os.killpg(self.process.pid, signal.SIGKILL)  # it may not have joined its cgroup yet
        except ProcessLookupError:
            pass
        except PermissionError:
            if not reached:
                raise

    def send(self, command: Mapping[str, Any], *descriptors: int) -> None:
        """Send one JSON line, with file descriptors; a child that has ended does not hear it, which is no error.

        Raises:
            OSError: It did not take the line in time. Part of it may have gone: nothing more may be sent.
            ValueError: Its stdin is no socket.
        """
        if self.socket is None:
            raise ValueError("only a child with a socket at its stdin can be sent to")
        line = json.dumps(command).encode() + b"\n"
        with self._sending:
            try:
                sent = socket.send_fds(self.socket, [line], list(descriptors))
                self.socket.sendall(line[sent:])
            except OSError as exc:
                if exc.errno not in _CLOSED:
                    raise

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
            if line is not None and not (not self.launched and self._heard(line)):
                yield line

    def _heard(self, line: Mapping[str, Any]) -> bool:
        """Take in what the launcher says; return whether this line was its."""
        if line.get("event") == NOT_LAUNCHED:
            self.refusal = str(line.get("detail"))
            return True
        if line.get("event") != LAUNCHED:
            return False
        self.launched, self.cap_by, self.sandbox = True, line.get("memory_cap_by"), line.get("sandbox") or {}
        for lack in self.sandbox.get("lacks") or ():
            _warn(lack)
        return True

    def was_out_of_memory(self) -> bool:
        """Return whether the kernel killed something in the worker's cgroup for its cap."""
        return self._leaf is not None and self._leaf.was_out_of_memory()

    def release(self) -> None:
        """Close the pipes and drop the cgroup; only after the worker has ended."""
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        if self.socket is not None:
            with self._sending:
                self.socket.close()
        if self._leaf is not None:
            self._leaf.drop()
            self._leaf = None


def worker_environment(threads: int) -> dict[str, str]:
    """Return the environment of every worker: nothing secret, telemetry off, threads counted before any import."""
    paths = [_PACKAGE_ROOT, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        **scrubbed(os.environ),
        "PYTHONPATH": os.pathsep.join(paths),
        "ORT_DISABLE_TELEMETRY": "1",
        "PYTHONUNBUFFERED": "1",
        **dict.fromkeys(_THREAD_VARIABLES, str(threads)),
    }


def spawn(command: Command, errors: int | None = None) -> Child:
    """Start a worker in a process group of its own, with a pipe or socket at its stdin and a pipe at its stdout.

    Args:
        command: What to start. The thread that calls this must live as long as the child: Linux binds them.
        errors: File descriptor for the worker's stderr; null leaves it on the agent's.
    Raises:
        OSError: The process could not be made.
    """
    leaf = _leaf_of(command)
    ours, theirs = _stdin_of(command)
    # -P: the folder that the agent happens to stand in is none to import from.
    launch = ["-P", "-m", "agent.launch", json.dumps(command.settings(leaf)), command.module, *command.arguments]
    try:
        process = subprocess.Popen(
            [sys.executable, *launch],
            stdin=subprocess.PIPE if theirs is None else theirs.fileno(),
            stdout=subprocess.PIPE,
            stderr=errors,
            env=worker_environment(command.threads),
            process_group=0,
        )
    except OSError:
        if leaf is not None:
            leaf.drop()
        if ours is not None:
            ours.close()
        raise
    finally:
        if theirs is not None:
            theirs.close()
    return Child(process, leaf, ours)


@cache
def _warn(lack: str) -> None:
    """Say once, not with every worker, what the sandbox lacks on this host."""
    log.warning("workers run without a part of their sandbox: %s", lack)


def _hand_over(command: Command) -> list[str]:
    """Make the worker's files its own user's; return what stands against that user."""
    if command.user is None:
        return []
    refusal = identity.why_not(command.user)
    if refusal is None:
        try:
            identity.hand_over(command.user, command.readable, command.writable)
        except OSError as exc:
            refusal = f"{exc.filename}: {exc.strerror}"
    return [f"user: {refusal}"] if refusal is not None else []


def _leaf_of(command: Command) -> Leaf | None:
    if command.cap_bytes is None and command.cpu_quota_ratio is None and not command.own_leaf:
        return None
    return make_leaf(command.cap_bytes, command.cpu_quota_ratio)


def _stdin_of(command: Command) -> tuple[socket.socket | None, socket.socket | None]:
    """Return our end and the child's; nothing where a pipe will do."""
    if not command.stdin_socket:
        return None, None
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    ours.settimeout(SEND_TIMEOUT_S)
    return ours, theirs


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
