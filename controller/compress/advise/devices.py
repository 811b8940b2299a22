"""Which scheme and engine suit a fleet's processors, from what devices report. Pure.

Decides: what an instruction set means for 8-bit sums. What is said of ARM follows from the engines' sources; trials
decide.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

VNNI = frozenset({"avx512_vnni", "avx_vnni", "amx_int8"})
X86, ARM = ("x86_64", "i686", "AMD64"), ("aarch64", "arm64", "armv7l", "armv8l")


@dataclass(frozen=True)
class Runner:
    """What runs variants on a device: its machine, instruction sets and engines, as its inventory names them."""

    machine: str
    isa: frozenset[str]
    engines: frozenset[str]


def advise_devices(runners: Iterable[Runner]) -> list[str]:
    """Return a sentence for each kind of processor and for what engines are there, the most devices first."""
    found = list(runners)
    said = Counter(sentence for each in found for sentence in (_scheme(each), _half(each)) if sentence)
    lines = [f"{count} of {len(found)} devices: {sentence}" for sentence, count in said.most_common()]
    engines = Counter(name for each in found for name in each.engines)
    if engines:
        lines.append("engines: " + ", ".join(f"{name} on {count}" for name, count in engines.most_common()))
    return lines


def _scheme(runner: Runner) -> str:
    if runner.machine in X86:
        if runner.isa & VNNI:
            return "x86 with VNNI: u8s8 is exact and the fastest scheme"
        return "x86 without VNNI: u8s8 saturates silently there; u8u8 is exact, at less speed"
    if runner.machine in ARM:
        if "i8mm" in runner.isa or "asimddp" in runner.isa:
            return "ARM with dot products: u8s8 and s8s8 are exact and fast"
        return "ARM without dot products: int8 gains little; compare LiteRT's XNNPACK, and smaller networks"
    return f"{runner.machine}: nothing is known of its integer arithmetic; measure"


def _half(runner: Runner) -> str:
    halves = {"fphp", "asimdhp"} <= runner.isa
    return "half precision is computed as such: float16 may be faster" if halves else ""
