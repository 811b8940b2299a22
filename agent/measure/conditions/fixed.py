"""What does not change while a process runs: processor, kernel, memory, limits, and the agent's own code.

Decides: what identifies the agent's code: the content of its Python files, installed or checked out. Leaves out: the
bundle's digest and the engine's build, which the one who measures adds.
"""

import hashlib
import os
import platform
from functools import cache
from pathlib import Path
from typing import Any

import agent
import wire
from agent.measure.conditions.confines import container, cpu_quota_cores, virtualisation
from agent.measure.conditions.heat import trip_points_celsius
from agent.measure.conditions.processor import processor
from agent.measure.conditions.read import ROOT, attempt, fields, lines, text
from agent.measure.conditions.supply import power_mode

_KIB = 1024


def fixed_conditions(root: Path = ROOT, asks_services: bool = False) -> dict[str, Any]:
    """Return what does not change while a process runs; null where the device does not offer it.

    Args:
        root: Of the file system.
        asks_services: Whether services may be asked besides files; never in a process that measures.
    """
    memory = fields(root / "proc/meminfo")
    return {
        **processor(root),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "agent_sha256": agent_sha256(),
        "power_mode": power_mode(root, asks_services),
        "trip_points_celsius": trip_points_celsius(root),
        "memory_bytes": _bytes(memory.get("MemTotal")),
        "swap_bytes": _bytes(memory.get("SwapTotal")),
        "swap_devices": [line.split()[0] for line in lines(root / "proc/swaps")[1:]] or None,
        "page_bytes": attempt(lambda: os.sysconf("SC_PAGE_SIZE")),
        "huge_pages": _chosen(text(root / "sys/kernel/mm/transparent_hugepage/enabled")),
        "cpu_quota_cores": cpu_quota_cores(root),
        "container": container(root),
        "virtualisation": virtualisation(root),
    }


@cache
def agent_sha256() -> str | None:
    """Return the SHA-256 of the agent's code: over the name and digest of each Python file of `agent` and `wire`."""
    packages = [Path(package.__file__).parent for package in (agent, wire) if package.__file__]
    return attempt(lambda: _code_sha256(packages))


def _code_sha256(packages: list[Path]) -> str:
    whole = hashlib.sha256()
    for package in packages:
        for path in sorted(package.rglob("*.py")):
            name = f"{package.name}/{path.relative_to(package).as_posix()}"
            whole.update(f"{name} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return whole.hexdigest()


def _bytes(kib: int | None) -> int | None:
    return None if kib is None else kib * _KIB


def _chosen(choices: str | None) -> str | None:
    """Return the word in brackets: `always [madvise] never`."""
    return None if choices is None else attempt(lambda: choices.split("[", 1)[1].split("]", 1)[0])
