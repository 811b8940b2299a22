"""Which Python an emulated processor runs, and what it is told of the machine around it.

Decides: that a processor of this machine's own kind uses the environment that this runs in, and another one the local
root; which variables and files of this machine a program sees. Leaves out: the emulator itself (`emulator.py`) and what
the program does (`engine_worker.py`).
"""

import os
import platform
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from controller.compress.probe.emulator import Emulator
from controller.compress.probe.processors import Processor, cpuinfo
from controller.compress.probe.root import places
from controller.convert.environments.hold import shared
from controller.errors import ProbeRootMissing

_ENGINES = ("onnxruntime", "ai-edge-litert", "numpy")
_CHANGES_PROGRAMS = ("PYTHON", "LD_", "QEMU_")
"""What variables begin with that change an emulator, or a Python of another environment."""

_TOP = ("usr", "lib", "etc")


@dataclass(frozen=True)
class Programs:
    """What a processor runs. root: null where it is the environment that this runs in. versions: of the engines."""

    root: Path | None
    versions: Mapping[str, str]

    @property
    def identity(self) -> dict[str, Any]:
        """Everything here that could change outputs, as JSON types."""
        return {"root": self.root is not None, "versions": dict(self.versions)}

    @property
    def site(self) -> tuple[str, ...]:
        """Folders of packages, besides those that the Python finds by itself."""
        return () if self.root is None else (str(self.root / places.PACKAGES),)

    def held(self) -> AbstractContextManager[None]:
        """Keep the root from being removed while something runs in it.

        Raises:
            Busy: It is being installed or removed.
        """
        return nullcontext() if self.root is None else shared(self.root, places.CALLED)


def programs_of(processor: Processor) -> Programs:
    """Return what a processor runs.

    Raises:
        ProbeRootMissing: It needs a root that is not installed, or that there is none of.
    """
    if platform.machine() == processor.machine:
        return Programs(None, _own_versions())
    if processor.machine != places.MACHINE:
        raise ProbeRootMissing(
            f"{processor.name} runs the Python of a machine that is {processor.machine} itself, and this one is "
            f"{platform.machine()}: probe it on such a machine"
        )
    root = places.required()
    return Programs(root.folder, root.versions)


def command(emulator: Emulator, programs: Programs, prefix: Path, arguments: tuple[str, ...]) -> list[str]:
    """Return the command line that runs the processor's Python.

    Args:
        emulator: What runs it.
        programs: Its Python.
        prefix: Where `lay_out` has put what stands for `/`; only looked at where there is a root.
        arguments: Of the Python.
    """
    start = [str(emulator.program), "-cpu", emulator.model]
    if programs.root is None:
        return [*start, sys.executable, "-I", *arguments]
    return [*start, "-L", str(prefix), str(prefix / places.PYTHON), "-I", "-S", *arguments]


def lay_out(processor: Processor, programs: Programs, prefix: Path) -> None:
    """Make in `prefix` what a processor's programs take for `/`, where they have a root of their own.

    Files that are not in it are this machine's. Its cpuinfo is the processor's: of the host's, engines crash.
    """
    if programs.root is None:
        return
    for name in _TOP:
        (prefix / name).symlink_to(programs.root / places.SYSTEM / name)
    (prefix / "proc").mkdir()
    (prefix / "proc" / "cpuinfo").write_text(cpuinfo(processor), encoding="ascii")
    cores = prefix / "sys" / "devices" / "system" / "cpu"
    cores.mkdir(parents=True)
    for name in ("possible", "present", "online"):
        (cores / name).write_text("0\n", encoding="ascii")


def variables(temporary: Path) -> dict[str, str]:
    """Return a program's environment variables: this process's, without those that change programs."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_CHANGES_PROGRAMS)}
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    own = {"ORT_DISABLE_TELEMETRY": "1", "PYTHONDONTWRITEBYTECODE": "1", "TMPDIR": str(temporary), "LANG": "C.UTF-8"}
    return {**kept, **threads, **own}


def _own_versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in _ENGINES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
