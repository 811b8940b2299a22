"""What the running kernel offers: memory control, pressure, the sandbox of workers, a clock that is right."""

import ctypes
import time
from pathlib import Path

from agent.child import cap_kind
from agent.device.checkup.finding import Finding, text_of
from agent.device.cpu import soc_name
from agent.device.identity import BUILT_S

PI_COMMAND_LINES = ("boot/firmware/cmdline.txt", "boot/cmdline.txt")
_TIMEX_BYTES = 512
_NOT_SYNCHRONISED = 5
"""TIME_ERROR, what adjtimex returns while nothing keeps the clock right. Source: adjtimex(2)."""


def memory_cap(root: Path) -> Finding:
    """Look what would hold a worker's memory."""
    if not has_memory_controller(root):
        found = "rlimit: the kernel's memory controller is off"
        return Finding("memory cap", "warning", found, f"{boot_option(root, 'cgroup_enable=memory')}")
    if cap_kind() == "cgroup":
        return Finding("memory cap", "ok", "cgroup")
    remedy = "run the agent under systemd with Delegate=memory for a cap that covers all of a worker's memory"
    return Finding("memory cap", "warning", "rlimit: no cgroup may be made here", remedy)


def pressure(root: Path) -> Finding:
    """Look whether the kernel tells how long programs wait for it."""
    if (root / "proc/pressure/cpu").exists():
        return Finding("pressure (PSI)", "ok", "/proc/pressure")
    remedy = f"{boot_option(root, 'psi=1')}: without it a busy device is not noticed before a measurement"
    return Finding("pressure (PSI)", "warning", "absent", remedy)


def sandbox() -> Finding:
    """Look what workers can be kept from here."""
    try:
        from agent.device.sandbox.confine import abilities
    except ImportError as exc:
        return Finding("sandbox", "warning", f"not known ({exc})", "install Thresher again: a part of it is missing")
    found = abilities()
    shown = f"network: {found['network']}, files: {found['files']}"
    lacking = [name for name in ("network", "files") if found[name] == "none"]
    if not lacking:
        return Finding("sandbox", "ok", shown)
    remedy = (
        f"workers are not kept from {' and '.join(lacking)}: a kernel of 5.13 or later with seccomp and Landlock can"
    )
    return Finding("sandbox", "warning", shown, remedy)


def clock(synchronised: bool | None = None) -> Finding:
    """Look whether the clock can be right: documents expire by it. `synchronised` null: the kernel is asked."""
    now_s = time.time()
    shown = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now_s))
    if now_s < BUILT_S:
        remedy = "let the device reach a time server: the clock lies before this release"
        return Finding("clock", "warning", shown, remedy)
    if (is_synchronised() if synchronised is None else synchronised) is False:
        remedy = "let the device reach a time server (timedatectl set-ntp true): nothing keeps the clock right"
        return Finding("clock", "warning", f"{shown}, not synchronised", remedy)
    return Finding("clock", "ok", shown)


def has_memory_controller(root: Path) -> bool:
    """Return whether the kernel controls memory, by either generation of cgroups."""
    if "memory" in text_of(root / "sys/fs/cgroup/cgroup.controllers").split():
        return True
    rows = [line.split() for line in text_of(root / "proc/cgroups").splitlines()]
    return any(row[0] == "memory" and row[-1] == "1" for row in rows if row)


def boot_option(root: Path, option: str) -> str:
    """Return how a person has the kernel started with `option` on this board."""
    if "raspberry pi" in soc_name(root).lower():
        file = next((name for name in PI_COMMAND_LINES if (root / name).is_file()), PI_COMMAND_LINES[0])
        return f"add {option} to the one line of /{file} and reboot"
    return f"start the kernel with {option}"


def is_synchronised() -> bool | None:
    """Return whether something keeps the clock right; None where the kernel does not tell."""
    try:
        library = ctypes.CDLL(None, use_errno=True)
        state = library.adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
    except (OSError, AttributeError):
        return None
    return None if state < 0 else bool(state != _NOT_SYNCHRONISED)
