"""Run a command as a group of processes, and end all of it at a limit.

Decides: how time and memory are watched, and in which words an ending is told. Leaves out: what the command is.
"""

import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

_LOOK_EVERY_S = 0.1
_KEPT_BYTES = 16 * 1024
_SHARE_OF_MEMORY = 0.75
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_CGROUP_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


@dataclass(frozen=True)
class Ending:
    """How a command ended.

    `code`: its exit code, negative for a signal. `killed`: the limit at which it was killed, in words, or null.
    `said`: the last of its output.
    """

    code: int
    killed: str | None
    said: str

    def because(self, name: str) -> str | None:
        """Return in words why `name` failed, or null where it did not."""
        if self.killed:
            return f"{name} {self.killed}"
        if self.code == -signal.SIGKILL:
            return f"{name} was killed (signal 9, SIGKILL): most likely the machine ran out of memory"
        if self.code < 0:
            return f"{name} crashed: signal {-self.code}, {_signal_name(-self.code)}"
        return f"{name} failed with exit code {self.code}" if self.code else None


def watch(
    command: Sequence[str], variables: Mapping[str, str], folder: Path, longest_s: float, memory_bytes: int | None
) -> Ending:
    """Run a command to its end, or kill it and all its children at a limit.

    Args:
        command: Program and arguments.
        variables: All environment variables of it.
        folder: Where it starts.
        longest_s: Time that it may take [s].
        memory_bytes: Resident memory that it and its children may take together; null: three quarters of the machine's.
    """
    most = memory_bytes if memory_bytes is not None else int(machine_memory_bytes() * _SHARE_OF_MEMORY)
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=folder, env=variables,
        start_new_session=True,
    )  # fmt: skip
    output = _Output(process)
    seen = _Tree(process.pid)
    try:
        killed = _until_end_or_limit(process, seen, time.monotonic() + longest_s, most)
    finally:
        seen.kill()
        code = process.wait()
    if killed == _TOO_LONG:
        killed = f"did not end within {longest_s:g} s and was killed"
    return Ending(code, killed, output.text())


_TOO_LONG = "too long"


def _until_end_or_limit(process: subprocess.Popen[bytes], seen: "_Tree", until: float, most: int) -> str | None:
    while True:
        with suppress(subprocess.TimeoutExpired):
            process.wait(_LOOK_EVERY_S)
            return None
        if (taken := seen.resident_bytes()) > most:
            return f"took {taken / 2**30:.2f} GiB of memory, more than the limit of {most / 2**30:.2f}, and was killed"
        if time.monotonic() > until:
            return _TOO_LONG


class _Tree:
    """A process and all its descendants, those too that have left its group."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._children: set[psutil.Process] = set()

    def resident_bytes(self) -> int:
        """Return the resident memory of all together."""
        with suppress(psutil.Error):
            parent = psutil.Process(self._pid)
            self._children.update(parent.children(recursive=True))
            return _resident_bytes(parent) + sum(_resident_bytes(each) for each in self._children)
        return 0

    def kill(self) -> None:
        """Kill the group, and what left it; those that ended already are passed over."""
        self.resident_bytes()
        with suppress(ProcessLookupError):
            os.killpg(self._pid, signal.SIGKILL)
        for each in self._children:
            with suppress(psutil.Error):
                each.kill()


def _resident_bytes(process: psutil.Process) -> int:
    with suppress(psutil.Error):
        return int(process.memory_info().rss)
    return 0


class _Output:
    """The last of what a process says; reading goes on, so that a process that says much is not held up."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        self._stream = process.stdout
        self._kept = b""
        # A daemon: a process that got out of the group may hold the pipe open for ever.
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while chunk := os.read(self._stream.fileno(), 65536):
            self._kept = (self._kept + chunk)[-_KEPT_BYTES:]
        self._stream.close()

    def text(self) -> str:
        """Return the last of it, once the process has ended."""
        self._reader.join(timeout=5)
        return self._kept.decode("utf-8", errors="replace")


def last_lines(said: str, most: int = 12) -> str:
    """Return the last lines of what a program printed, indented, without colours and other control characters."""
    lines = [_CONTROL.sub("", line).rstrip() for line in said.splitlines()]
    return "".join(f"\n    {line[:300]}" for line in [line for line in lines if line][-most:]) or " nothing"


def machine_memory_bytes() -> int:
    """Return the memory of this machine, or of the control group that this process is confined to."""
    total = int(psutil.virtual_memory().total)
    for path in _CGROUP_LIMITS:
        with suppress(OSError, ValueError):
            total = min(total, int(path.read_text()))
    return total


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return "unknown"
