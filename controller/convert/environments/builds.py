"""Which build of torch is installed: the CPU build where pip can find it, else the registry's with what it needs.

Decides: that, by asking pip for the CPU build alone. Leaves out: everything else of an installation.

The registry does not carry the CPU build, and its own Linux build does not import without NVIDIA's libraries.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from controller.convert.environments.locks import Lock, locks_of

CPU_BUILDS = "torch-cpu.txt"
"""Beside the folder of the locks: `torch==VERSION+cpu --hash=sha256:…`."""


@dataclass(frozen=True)
class Build:
    """What pip is told besides a lock, and the lock that is installed with it, if any."""

    arguments: tuple[str, ...] = ()
    besides: Lock | None = None


def torch_build(lock: Lock, temporary: Path, succeeds: Callable[[list[str]], bool]) -> Build:
    """Return which build of torch `lock` gets; nothing is added where it pins none.

    Args:
        lock: What is installed.
        temporary: Gets a file.
        succeeds: Runs pip with arguments and tells whether it did what they ask.
    """
    if "torch" not in lock.pins:
        return Build()
    constraint = lock.path.parent.parent / CPU_BUILDS
    if cpu := _cpu_build(lock, constraint):
        alone = temporary / CPU_BUILDS
        alone.write_text(cpu, encoding="utf-8")
        if succeeds(["install", "--dry-run", "--no-deps", "--require-hashes", "-r", str(alone)]):
            return Build(("-c", str(constraint)))
    besides = locks_of("nvidia")[lock.version]
    return Build(("-r", str(besides.path)), besides)


def _cpu_build(lock: Lock, constraint: Path) -> str | None:
    if not constraint.is_file():
        return None
    pattern = rf"^torch=={re.escape(lock.pins['torch'])}\+cpu --hash=\S+$"
    found = re.search(pattern, constraint.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return found[0] + "\n" if found else None
