"""Find the emulator of a processor, and see that the one which is installed knows it.

Decides: what is looked for on the path, and when an emulator is too old. Leaves out: what it runs (`emulated.py`).

    find(PROCESSORS["haswell"]).model  # "Haswell-noTSX"
"""

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from controller.compress.probe.processors import PACKAGE, Processor
from controller.errors import EmulatorMissing

_LONGEST_ANSWER_S = 60.0


@dataclass(frozen=True)
class Emulator:
    """An emulator that is installed, its release, and its own name for the processor."""

    program: Path
    version: str
    model: str


def find(processor: Processor) -> Emulator:
    """Return the emulator of a processor.

    Raises:
        EmulatorMissing: It is not on the path, too old, or does not know the processor; the text names the package.
    """
    names = (processor.emulator, f"{processor.emulator}-static")
    program = next((found for name in names if (found := shutil.which(name))), None)
    if program is None:
        raise EmulatorMissing(
            f"{processor.name} is emulated by {processor.emulator}, which is not on the path: install the package "
            f"{PACKAGE} (Debian, Ubuntu: apt-get install {PACKAGE})"
        )
    version = release(_said(program, "--version"))
    known = known_models(_said(program, "-cpu", "help"))
    model = next((each for each in processor.models if each in known), None)
    if model is None or version < processor.since:
        raise EmulatorMissing(
            f"{program} is release {'.'.join(map(str, version)) or 'unknown'} and does not compute as {processor.name} "
            f"does: install {PACKAGE} {'.'.join(map(str, processor.since))} or newer (Debian 12 has 7.2)"
        )
    return Emulator(Path(program), ".".join(map(str, version)), model)


def release(said: str) -> tuple[int, ...]:
    """Return the release that an emulator tells of itself; empty where it tells none.

    >>> release("qemu-x86_64 version 7.2.22 (Debian 1:7.2+dfsg)")
    (7, 2, 22)
    """
    found = re.search(r"version (\d+(?:\.\d+)+)", said)
    return tuple(int(part) for part in found[1].split(".")) if found else ()


def known_models(said: str) -> frozenset[str]:
    """Return the names of processors in what `-cpu help` prints, with the words around them."""
    return frozenset(said.split())


def _said(program: str, *arguments: str) -> str:
    try:
        done = subprocess.run(
            [program, *arguments], capture_output=True, text=True, timeout=_LONGEST_ANSWER_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise EmulatorMissing(f"{program} does not run ({exc}): install the package {PACKAGE} again") from exc
    return done.stdout
