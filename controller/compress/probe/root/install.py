"""Make and remove the local root for ARM processors, whole or not at all.

Decides: the steps, what is checked first, and that a root appears by one rename, after its engines were imported in it
under the emulator. What a killed installation leaves counts for nothing and goes at the next one. Leaves out: which
roots count (`places.py`).

    plan(None).download_bytes; install(progress, None); remove()
"""

import json
import os
import shutil
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from controller.bundle.atomic import sweep_unfinished, unfinished_folder, write_synced
from controller.compress.probe.emulator import find
from controller.compress.probe.processors import PROCESSORS, Processor
from controller.compress.probe.programs import Programs, command, lay_out, variables
from controller.compress.probe.root import debian, places
from controller.compress.probe.root.locks import PYTHON_VERSION, RootLocks, root_locks
from controller.convert.environments.hold import exclusive
from controller.convert.environments.make import disk_bytes
from controller.convert.environments.pip import Place, Progress, run_pip
from controller.convert.environments.places import COMPLETE
from controller.convert.environments.watch import last_lines, watch
from controller.errors import DiskFull, ProbeRootNotInstalled
from wire.canonical import canonical_json

_GLIBC_MINORS = (28, 27, 26, 24, 17)
"""Wheels for a C library of 2.x; Debian 12 has 2.36."""

_LONGEST_TRIAL_S = 900.0
_TRIAL = """\
import json, sys
sys.path[:0] = [sys.argv[1]]
from importlib import import_module, metadata
for name in sys.argv[2:]:
    import_module(name)
found = {each.metadata["Name"]: each.version for each in metadata.distributions(path=[sys.argv[1]])}
print(json.dumps({"python": sys.version.split()[0], **found}))
"""


@dataclass(frozen=True)
class Plan:
    """What an installation would do. Sizes [bytes]."""

    folder: Path
    mirror: str
    packages: int
    download_bytes: int
    installed_bytes: int


def plan(mirror: str | None) -> Plan:
    """Return what installing would do.

    Args:
        mirror: Address of a Debian mirror; apt's own where it is null.
    Raises:
        EmulatorMissing: The root could not be tried.
        ProbeRootNotInstalled: This machine has no apt, or apt knows no mirror.
    """
    find(_tried_on())
    debian.check_tools()
    locks = root_locks()
    number = len(locks.packages) + len(locks.wheels.pins)
    chosen = mirror or debian.mirror_of(locks.release)
    return Plan(places.root_folder(), chosen, number, locks.download_bytes, locks.installed_bytes)


def install(progress: Progress, mirror: str | None) -> Path:
    """Make the root from its locks, unless it is there already, and return its folder.

    Raises:
        EmulatorMissing: It could not be tried.
        Busy: It is being installed or removed, or used.
        DiskFull: No room.
        ProbeRootNotInstalled, ConverterNotInstalled: A step failed; nothing is left.
    """
    root = places.root_folder()
    with exclusive(root, places.CALLED) as held:
        if places.fault() is None:
            return root
        wanted = plan(mirror)
        sweep_unfinished(root.parent)
        check_room(wanted)
        with unfinished_folder(root.parent) as partial:
            _fill(partial, wanted, progress, held)
            if root.exists():
                shutil.rmtree(root)
            os.replace(partial, root)
    return root


def remove() -> bool:
    """Remove the root; return whether there was anything of it.

    Raises:
        Busy: It is being installed or removed, or used.
    """
    root = places.root_folder()
    if not root.exists():
        return False
    with exclusive(root, places.CALLED):
        # First the file that makes it count: a removal that is killed leaves nothing that looks whole.
        (root / COMPLETE).unlink(missing_ok=True)
        shutil.rmtree(root)
        sweep_unfinished(root.parent)
    return True


def check_room(wanted: Plan) -> None:
    """Refuse an installation that the disk has no room for.

    Raises:
        DiskFull: Less is free than the packages and what is made of them take.
    """
    needed, free = wanted.download_bytes + wanted.installed_bytes, shutil.disk_usage(wanted.folder.parent).free
    if free < needed:
        raise DiskFull(
            f"{wanted.folder}: this takes about {needed / 1e6:.0f} MB while it is installed, and {free / 1e6:.0f} MB "
            f"are free: make room, or name a folder on another disk with ${places.FOLDER_VARIABLE}"
        )


def _fill(partial: Path, wanted: Plan, progress: Progress, held: int) -> None:
    """Make all of a root in a folder that is nobody's yet."""
    locks, fetched = root_locks(), partial / "fetched"
    system, packages = partial / places.SYSTEM, partial / places.PACKAGES
    for folder in (fetched, system, packages):
        folder.mkdir()
    progress.stage("download Debian's packages", len(locks.packages))
    files = debian.fetch(locks.packages, wanted.mirror, fetched, progress.advance)
    progress.stage("download wheels", len(locks.wheels.pins))
    wheels = _fetch_wheels(locks, fetched / "wheels", held, progress)
    progress.stage("unpack", len(files) + len(wheels))
    debian.unpack(files, system, progress.advance)
    for wheel in wheels:
        zipfile.ZipFile(wheel).extractall(packages)
        progress.advance(wheel.name)
    shutil.rmtree(fetched)
    progress.stage("try it", 1)
    record = {"versions": _try(partial, locks), "locks_sha256": locks.digest, "disk_bytes": disk_bytes(partial)}
    write_synced(partial / COMPLETE, canonical_json(record))
    progress.advance(", ".join(locks.wheels.imports))


def _fetch_wheels(locks: RootLocks, folder: Path, held: int, progress: Progress) -> list[Path]:
    """Fetch the wheels by pip, held to their digests; sources are never built."""
    platforms = [f"manylinux_2_{minor}_{places.MACHINE}" for minor in _GLIBC_MINORS]
    arguments = ["download", "--require-hashes", "--no-deps", "--only-binary=:all:", "--implementation", "cp"]
    arguments += [part for each in (*platforms, f"manylinux2014_{places.MACHINE}") for part in ("--platform", each)]
    arguments += ["--python-version", PYTHON_VERSION, "--dest", str(folder), "--requirement", str(locks.wheels.path)]
    temporary = folder.parent / "tmp"
    temporary.mkdir()
    run_pip(Place(Path(sys.executable), temporary, held), arguments, _Counter(progress))
    return sorted(folder.glob("*.whl"))


class _Counter:
    """Counts what pip fetches."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def heard(self, line: str) -> None:
        """Count a package."""
        if line.startswith("Collecting "):
            self._progress.advance(line.split()[1])

    def tick(self) -> None:
        """Nothing is counted by time."""


def _tried_on() -> Processor:
    """Return the oldest processor that the root is for: what runs on it runs on the others."""
    return next(each for each in PROCESSORS.values() if each.machine == places.MACHINE)


def _try(partial: Path, locks: RootLocks) -> dict[str, Any]:
    """Import the engines under the emulator; return the versions that were found."""
    processor, programs, place = _tried_on(), Programs(partial, {}), partial / "trial"
    place.mkdir()
    lay_out(processor, programs, place)
    arguments: Sequence[str] = ("-c", _TRIAL, programs.site[0], *locks.wheels.imports)
    wanted = command(find(processor), programs, place, tuple(arguments))
    ending = watch(wanted, variables(place), place, _LONGEST_TRIAL_S, None)
    lines = ending.said.strip().splitlines()
    if (because := ending.because("a trial on an emulated processor")) or not lines:
        said = last_lines(ending.said)
        raise ProbeRootNotInstalled(f"what was fetched does not work here, and was removed: {because}; it said:{said}")
    shutil.rmtree(place)
    found: dict[str, Any] = json.loads(lines[-1])
    return found
