"""The processors that variants can be probed on, and what an emulator and its programs are told of each.

Decides: their names, which of the emulator's processors stands for one, and from which release of the emulator on.
Leaves out: finding the emulator (`emulator.py`). Pure.

>>> PROCESSORS["cortex-a72"].machine
'aarch64'
"""

from collections.abc import Mapping
from dataclasses import dataclass

ARM_FEATURES = ("fp", "asimd", "evtstrm", "aes", "pmull", "sha1", "sha2", "crc32")
"""Of both ARM processors, in the kernel's words."""

PACKAGE = "qemu-user"
"""Debian's package of the emulator; Ubuntu's has the same name."""


@dataclass(frozen=True)
class Processor:
    """A processor that somebody else owns.

    name: as `--cpu` takes it. title: what it is, for people. machine: as `uname -m` says it. emulator: the program.
    models: the emulator's names for it, the first that it knows is taken. since: the first release of the emulator that
    computes as it does. features, part: what /proc/cpuinfo tells of an ARM processor.
    """

    name: str
    title: str
    machine: str
    emulator: str
    models: tuple[str, ...]
    since: tuple[int, int]
    features: tuple[str, ...] = ()
    part: str = ""


PROCESSORS: Mapping[str, Processor] = {
    each.name: each
    for each in (
        # Without TSX, which the emulator lacks. Before 7.2 it left AVX2 out and went on: engines took other kernels.
        Processor(
            "haswell", "Intel Haswell: AVX2, no VNNI", "x86_64", "qemu-x86_64", ("Haswell-noTSX", "Haswell"), (7, 2)
        ),
        Processor(
            "cortex-a72", "Arm Cortex-A72 (Raspberry Pi 4): no dot product", "aarch64", "qemu-aarch64",
            ("cortex-a72",), (2, 12), (*ARM_FEATURES, "cpuid"), "0xd08",
        ),
        Processor(
            "cortex-a76", "Arm Cortex-A76 (Raspberry Pi 5): dot product, half precision", "aarch64", "qemu-aarch64",
            ("cortex-a76",), (7, 1),
            (*ARM_FEATURES, "atomics", "fphp", "asimdhp", "cpuid", "asimdrdm", "lrcpc", "dcpop", "asimddp"), "0xd0b",
        ),
    )
}  # fmt: skip


def cpuinfo(processor: Processor) -> str:
    """Return what /proc/cpuinfo says on one core of an ARM processor.

    Engines choose their kernels by it, and crash where they can read none. What is listed here must be what the
    emulator computes: a feature too many ends in an illegal instruction.
    """
    fields = {
        "processor": "0",
        "BogoMIPS": "108.00",
        "Features": " ".join(processor.features),
        "CPU implementer": "0x41",
        "CPU architecture": "8",
        "CPU variant": "0x0",
        "CPU part": processor.part,
        "CPU revision": "3",
    }
    return "".join(f"{name}\t: {value}\n" for name, value in fields.items()) + "\n"
