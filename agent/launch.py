"""Run a worker so that it cannot outlive the agent, nor outgrow its limits, nor reach what is not its own: the first
thing that a child process does.

Decides: the order. The child joins its cgroup, takes its cores, changes to its user, binds its life to its parent's
(PR_SET_PDEATHSIG, which a change of user clears), and confines itself, all before anything of the worker is imported.
An rlimit (RLIMIT_DATA: private writable memory) stands in for the cgroup, set once the worker is imported and before
anything heavy is. The line `launched` then says that the worker's own main begins, and what holds it: an end without it
is no fault of what the worker was to run. Leaves out: which worker (`agent/child.py`), and how each limit is imposed
(`agent/device/sandbox`). It stands apart from `child.py` so that a worker loads little more.

Example: `python -P -m agent.launch '{"parent": 4711}' agent.serve.worker order.json`, called by the process 4711.
"""

import importlib
import json
import os
import resource
import signal
import sys
from collections.abc import Mapping
from typing import Any

LAUNCHED = "launched"
NOT_LAUNCHED = "not_launched"


def main(arguments: list[str]) -> int:
    """Bind this process to its parent, take its limits on, then become the worker; return its exit code.

    Raises:
        OSError, ValueError: No cap can be had. The worker must not run without.

    Args:
        arguments: What `Command.settings` says, as JSON; the module; the module's own arguments.
    """
    settings, module, *rest = json.loads(arguments[0]), *arguments[1:]
    in_cgroup = join(settings.get("cgroups") or [])
    try:
        sandbox = take_on(settings, module, in_cgroup)
    except LaunchRefused as exc:
        print(json.dumps({"event": NOT_LAUNCHED, "detail": str(exc)}), flush=True)
        sys.exit(str(exc))
    worker = importlib.import_module(module)
    cap_bytes = settings.get("cap_bytes")
    if cap_bytes and not in_cgroup:
        resource.setrlimit(resource.RLIMIT_DATA, (cap_bytes, cap_bytes))
    cap_by = ("cgroup" if in_cgroup else "rlimit") if cap_bytes else None
    print(json.dumps({"event": LAUNCHED, "memory_cap_by": cap_by, "sandbox": sandbox}), flush=True)
    code: int = worker.main(rest)
    return code


class LaunchRefused(Exception):
    """This process must not become the worker; the text says why."""


def take_on(settings: Mapping[str, Any], module: str, in_cgroup: bool) -> dict[str, Any]:
    """Take on cores, user, the parent's fate and the sandbox, in this order; return what holds.

    Raises:
        LaunchRefused: What is required cannot be had, or the parent has ended.
    """
    from agent.device.sandbox.confine import SandboxLacking, confine, take_user  # the control process has no need

    try:
        cpu = take_cores(settings, in_cgroup)
        user, lacks = take_user(settings)
        bind(settings["parent"])
        held = confine(settings, module.partition(".")[0])
    except (SandboxLacking, OSError) as exc:
        raise LaunchRefused(str(exc)) from exc
    return {**held, "user": user, "cpu": cpu, "lacks": lacks + held["lacks"]}


def bind(parent: int) -> None:
    """Die with the parent, from now on.

    Raises:
        LaunchRefused: It has ended already.
    """
    from agent.device.sandbox import kernel

    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        raise LaunchRefused(f"the agent {parent} ended while this worker started")


def take_cores(settings: Mapping[str, Any], in_cgroup: bool) -> dict[str, Any]:
    """Take on cores, niceness and the quota; return those that hold.

    Raises:
        OSError: A core does not exist, or a niceness is not allowed.
    """
    held: dict[str, Any] = {}
    if settings.get("cores"):
        os.sched_setaffinity(0, settings["cores"])
        held["cores"] = sorted(os.sched_getaffinity(0))
    if settings.get("nice"):
        held["nice"] = os.nice(settings["nice"])
    if settings.get("quota_ratio"):
        held["quota_ratio"] = settings["quota_ratio"]
        held["quota_by"] = (settings.get("quota_by") if in_cgroup else None) or "none"
    return held


def join(processes_files: list[str]) -> bool:
    """Join cgroups; return whether that worked, and say why not on stderr."""
    try:
        for path in processes_files:
            with open(path, "w", encoding="ascii") as processes:
                processes.write(str(os.getpid()))
    except OSError as exc:
        print(f"cgroup not joined ({exc}): an rlimit holds the cap", file=sys.stderr)
        return False
    return bool(processes_files)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
