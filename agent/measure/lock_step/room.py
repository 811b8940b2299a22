"""Whether two workers may be alive at once on this device, and on which core they take turns.

Decides: what a worker is reckoned to need before anything of it was measured. Leaves out: what its peak really is
(`agent/measure/memory.py`): that is found later, in a process of its own.
"""

import os
from collections.abc import Collection, Sequence
from pathlib import Path

from agent.measure.conditions.read import ROOT, fields, number
from wire.trial import Scenario

PROCESS_BYTES = 128 * 2**20
"""Interpreter, numpy, engine, a small model's arena: a peak of 77 MiB with ONNX Runtime on x86, and room for more."""

MODEL_FACTOR = 3
"""A bundle's bytes in memory: the file's pages, the weights as the engine packs them, and as much for activations."""

AVAILABLE_RATIO = 0.8
"""Of what is available: the rest is for others, and for what was not foreseen."""

MIB = 2**20


def reason_against(scenario: Scenario, sizes_bytes: Sequence[int], cap_bytes: int | None, root: Path = ROOT) -> str:
    """Return why variants cannot be measured in lock-step here; empty where they can.

    Args:
        scenario: How queries come.
        sizes_bytes: Of each bundle.
        cap_bytes: What this device's workers may have; null: no cap.
        root: Of the file system.
    """
    if scenario != "single_stream":
        return f"the scenario {scenario} has a time of its own: only single_stream can take turns within a process"
    if len(sizes_bytes) != 2:
        return f"{len(sizes_bytes)} variants: two can take turns"
    needed = sum(PROCESS_BYTES + MODEL_FACTOR * size for size in sizes_bytes)
    available = available_bytes(root)
    if cap_bytes is not None and needed > cap_bytes:
        return f"two workers at once need some {needed // MIB} MiB, the memory cap is {cap_bytes // MIB} MiB"
    if available is not None and needed > AVAILABLE_RATIO * available:
        return f"two workers at once need some {needed // MIB} MiB, {available // MIB} MiB are available"
    return ""


def available_bytes(root: Path = ROOT) -> int | None:
    """Return how much memory can be had without swapping [bytes], a container's limit counted; None: nothing tells."""
    kib = fields(root / "proc/meminfo").get("MemAvailable")
    group = root / "sys/fs/cgroup"
    most, used = number(group / "memory.max"), number(group / "memory.current")
    known = [] if kib is None else [kib * 1024]
    known += [] if most is None or used is None else [max(0, most - used)]
    return min(known, default=None)


def shared_core(threads: int, cores: Collection[int] | None, root: Path = ROOT) -> tuple[int, ...] | None:
    """Return the core that both sides are held to; None where they stay as they are.

    Cores differ, and a scheduler leaves each process on the one where it was: the difference would be in every block.
    Of one thread's cores the fastest is taken, and of equal ones the last, since interrupts often land on the first.
    Several threads stay where they are: which cores share a cache or a pipeline is not ours to guess.

    Args:
        threads: The engine's.
        cores: Those that workers are held to; None: those of this process.
        root: Of the file system.
    """
    if threads > 1:
        return None
    own = os.sched_getaffinity(0)
    allowed = sorted(own & set(cores) if cores else own) or sorted(own)
    return (max(allowed, key=lambda core: (_capacity(core, root), core)),)


def _capacity(core: int, root: Path) -> int:
    return number(root / f"sys/devices/system/cpu/cpu{core}/cpu_capacity") or 0
