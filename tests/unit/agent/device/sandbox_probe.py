"""Runs as a worker and tries what a worker must not: one JSON line says what became of each try."""

import ctypes
import json
import os
import resource
import signal
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

PTRACE_SEIZE = 0x4206
"""Unlike PTRACE_ATTACH, it does not stop the parent where nothing refuses it."""


def main(arguments: list[str]) -> int:
    """Try everything; `arguments`: own folder, result folder, somebody else's file, port, path of a Unix socket."""
    own, results, other, port, path = arguments
    tries: dict[str, Callable[[], Any]] = {
        "internet_socket": lambda: socket.create_connection(("127.0.0.1", int(port)), 5),
        "unix_connect": lambda: _connect(path),
        "netlink": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW),
        "datagram_pair": lambda: socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM),
        "stream_pair": socket.socketpair,
        "read_other": lambda: Path(other).read_text(),
        "read_shadow": lambda: Path("/etc/shadow").read_text(),
        "list_root": lambda: os.listdir("/"),
        "read_own": lambda: os.listdir(own),
        "write_own": lambda: Path(own, "x").write_text("x"),
        "write_result": lambda: Path(results, "x").write_text("x"),
        "rename_result": lambda: os.replace(f"{results}/x", f"{results}/y"),
        "change_mode": lambda: os.chmod(f"{results}/y", 0o777),
        "signal_parent": lambda: os.kill(os.getppid(), 0),
        "signal_self": lambda: os.kill(os.getpid(), 0),
        "limit_parent": lambda: resource.prlimit(os.getppid(), resource.RLIMIT_CORE),
        "limit_self": lambda: resource.prlimit(os.getpid(), resource.RLIMIT_CORE),
        "parents_variables": lambda: Path(f"/proc/{os.getppid()}/environ").read_bytes(),
        "trace_parent": lambda: _call("ptrace", PTRACE_SEIZE, os.getppid(), 0, 0),
        "new_namespace": lambda: _call("unshare", 0x10000000),
        "reset_peak": lambda: Path("/proc/self/clear_refs").write_text("5"),
        "thread": _thread,
        "abort_in_child": _abort,
    }
    print(json.dumps({name: _outcome(each) for name, each in tries.items()}), flush=True)
    print(json.dumps({"variables": sorted(os.environ), "status": _status()}), flush=True)
    return 0


def _outcome(attempt: Callable[[], Any]) -> str:
    try:
        attempt()
    except OSError as exc:
        return type(exc).__name__
    return "done"


def _connect(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(path)


def _call(name: str, *arguments: int) -> None:
    if getattr(ctypes.CDLL(None, use_errno=True), name)(*arguments) < 0:
        raise OSError(ctypes.get_errno(), name)


def _thread() -> None:
    thread = threading.Thread(target=lambda: None)
    thread.start()
    thread.join()


def _abort() -> None:
    """Fork a process that ends itself: what an engine does when it aborts."""
    if (child := os.fork()) == 0:
        os.abort()
    _, status = os.waitpid(child, 0)
    if not os.WIFSIGNALED(status) or os.WTERMSIG(status) not in (signal.SIGABRT, signal.SIGSEGV):
        raise OSError(f"status {status}")


def _status() -> dict[str, str]:
    lines = Path("/proc/self/status").read_text().splitlines()
    return {name: value.split()[0] for name, _, value in (line.partition(":") for line in lines) if value.strip()}
