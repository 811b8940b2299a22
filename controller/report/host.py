"""The machine that a report comes from: its processor and system, read from the kernel.

Decides: which facts name a host. Leaves out: devices (their inventories say what they are).
"""

import os
import platform
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
MEMINFO = Path("/proc/meminfo")
ISA_OF_INTEREST = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm", "sve")


def describe_host() -> dict[str, object]:
    """Return name, processor, cores, memory [bytes], system and the instruction sets that matter to int8."""
    facts = _cpu_facts(CPUINFO.read_text(encoding="utf-8", errors="replace") if CPUINFO.exists() else "")
    flags = set(facts.get("flags", facts.get("Features", "")).split())
    return {
        "name": platform.node(),
        "processor": facts.get("model name") or facts.get("Model") or platform.processor() or platform.machine(),
        "machine": platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": _memory_bytes(),
        "os": _os_name(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "isa": [name for name in ISA_OF_INTEREST if name in flags],
    }


def _cpu_facts(text: str) -> dict[str, str]:
    facts: dict[str, str] = {}
    for line in text.splitlines():
        name, colon, value = line.partition(":")
        if colon:
            facts.setdefault(name.strip(), value.strip())
    return facts


def _memory_bytes() -> int | None:
    if not MEMINFO.exists():
        return None
    first = MEMINFO.read_text().splitlines()[0].split()
    return int(first[1]) * 1024


def _os_name() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    except OSError:
        return platform.system()
