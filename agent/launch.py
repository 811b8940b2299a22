"""Run a worker's module so that it cannot outlive the agent: the first thing that a child process does.

Decides: that the child dies with its parent (PR_SET_PDEATHSIG), and joins its memory cgroup before it loads anything.
Leaves out: which worker (`agent/child.py`). It stands apart from `child.py` so that a worker loads little more.

Example: `python -m agent.launch 4711 "" agent.serve.worker order.json`, called by the process 4711.
"""

import ctypes
import os
import runpy
import signal
import sys

PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> None:
    """Bind this process to its parent, join the cgroup, then become the worker.

    Args:
        arguments: Parent's process id, the cgroup's `cgroup.procs` (or ""), the module, the module's own arguments.
    """
    parent, processes_file, module, *rest = arguments
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(parent):
        sys.exit(f"the agent {parent} ended while this worker started")
    if processes_file:
        with open(processes_file, "w", encoding="ascii") as processes:
            processes.write(str(os.getpid()))
    sys.argv = [module, *rest]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(sys.argv[1:])
