"""Names of processes that hold something in the database: who it is, and whether it is still there.

Decides: the name, and that a process of this host which has ended is gone at once; of other hosts only time tells.
"""

import os
import socket
import uuid
from pathlib import Path


def new_owner() -> str:
    """Return a name for this process: host, process id, its start time, and a random part."""
    return f"{socket.gethostname()}:{os.getpid()}:{_start_ticks(os.getpid())}:{uuid.uuid4().hex[:8]}"


def process_is_gone(owner: str) -> bool:
    """Return whether the process that `owner` names ran on this host and runs no more."""
    host, _, rest = owner.partition(":")
    parts = rest.split(":")
    if host != socket.gethostname() or len(parts) != 3 or not parts[0].isdigit():
        return False  # another host, or a container of another name: only the heartbeat tells
    return _start_ticks(int(parts[0])) != parts[1]


def _start_ticks(pid: int) -> str:
    """Return when a process started [clock ticks since boot], as text; empty when it does not run. Source: proc(5)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] == "Z" else fields[19]
