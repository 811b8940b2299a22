"""Run a worker so that it cannot outlive the agent, nor outgrow its cap: the first thing that a child process does.

Decides: that the child dies with its parent (PR_SET_PDEATHSIG), and what holds its memory cap: the cgroup that was made
for it, joined before anything is loaded, else an rlimit (RLIMIT_DATA: private writable memory) before anything heavy
is. The line `launched` then says that the worker's own main begins, and what holds the cap: an end without it is no
fault of what the worker was to run. Leaves out: which worker (`agent/child.py`). It stands apart from `child.py` so
that a worker loads little more.

Example: `python -m agent.launch 4711 "" "" agent.serve.worker order.json`, called by the process 4711.
"""

import importlib
import json
import os
import resource
import signal
import sys

PR_SET_PDEATHSIG = 1
LAUNCHED = "launched"


def main(arguments: list[str]) -> int:
    """Bind this process to its parent, take the cap on, then become the worker; return its exit code.

    Raises:
        OSError, ValueError: No cap can be had. The worker must not run without.

    Args:
        arguments: Parent's process id, the cap [bytes] (or ""), the cgroup's `cgroup.procs` (or ""), the module, the
            module's own arguments.
    """
    parent, cap_bytes, processes_file, module, *rest = arguments
    import ctypes  # here, because the control process imports this module for a name

    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(parent):
        sys.exit(f"the agent {parent} ended while this worker started")
    in_cgroup = bool(processes_file) and join(processes_file)
    worker = importlib.import_module(module)
    if cap_bytes and not in_cgroup:
        resource.setrlimit(resource.RLIMIT_DATA, (int(cap_bytes), int(cap_bytes)))
    cap_by = ("cgroup" if in_cgroup else "rlimit") if cap_bytes else None
    print(json.dumps({"event": LAUNCHED, "memory_cap_by": cap_by}), flush=True)
    code: int = worker.main(rest)
    return code


def join(processes_file: str) -> bool:
    """Join a cgroup; return whether that worked, and say why not on stderr."""
    try:
        with open(processes_file, "w", encoding="ascii") as processes:
            processes.write(str(os.getpid()))
    except OSError as exc:
        print(f"cgroup not joined ({exc}): an rlimit holds the cap", file=sys.stderr)
        return False
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
