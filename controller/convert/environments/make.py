"""The steps of an installation: a virtual environment, its packages from the lock, a trial, and the record of it all.

Decides: their order, and that `complete.json` is written last, by rename. Leaves out: what is checked before
(`install.py`) and how pip is run (`pip.py`). The folder cannot be made elsewhere and renamed: programs in a virtual
environment name its path.
"""

import os
import shutil
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from controller.bundle.atomic import write_whole
from controller.convert.environments.builds import torch_build
from controller.convert.environments.locks import Lock
from controller.convert.environments.pip import Place, Progress, run_pip, run_tied, succeeds
from controller.convert.environments.places import COMPLETE, FOLDER_VARIABLE, PYTHON, Environment
from controller.convert.environments.runner import Limits, run_unheld
from controller.convert.environments.watch import last_lines
from controller.errors import ConversionFailed, ConverterNotInstalled, DiskFull, PythonMissing
from wire.canonical import canonical_json

_TRIED_WITHIN = Limits(longest_s=900)
_BACKEND = "setuptools"
NOT_AT_HAND = (
    "pip finds no CPU build of torch: the registry's is taken, with NVIDIA's libraries, {megabytes} MB more to "
    "download; to avoid that, stop this and name a folder or an index that has it (PIP_FIND_LINKS, PIP_EXTRA_INDEX_URL)"
)


@dataclass(frozen=True)
class Plan:
    """What an installation would do.

    `packages`: their number. Sizes [bytes] are those of Linux on x86-64, null where the lock says none.
    """

    name: str
    folder: Path
    lock: Lock
    python: Path
    packages: int
    download_bytes: int | None
    installed_bytes: int | None


def make(wanted: Plan, progress: Progress, held: int) -> Environment:
    """Carry out a plan in a folder that is not there yet.

    Args:
        wanted: What is made.
        progress: Is told how far it is.
        held: Descriptor of the installation's lock.
    Raises:
        PythonMissing: The interpreter can make no environments.
        DiskFull: No room.
        ConverterNotInstalled: pip failed, or what it installed does not work here.
    """
    began, root = time.monotonic(), wanted.folder
    place = Place(root / PYTHON, root / "tmp", held)
    place.temporary.mkdir(parents=True)
    progress.stage("make the environment", 1)
    _make_venv(wanted, place)
    progress.advance(f"Python {wanted.lock.version}")
    _install_packages(wanted, place, progress)
    progress.stage("try it", 1)
    found = _try(wanted)
    progress.advance(", ".join(wanted.lock.imports))
    shutil.rmtree(place.temporary)
    record = {
        "name": wanted.name,
        "python": found["python"],
        "lock": wanted.lock.path.name,
        "lock_sha256": wanted.lock.digest,
        "versions": found["versions"],
        "disk_bytes": disk_bytes(root),
        "installed_in_s": round(time.monotonic() - began, 1),
    }
    write_whole(root / COMPLETE, canonical_json(record))
    return Environment(wanted.name, root / PYTHON, root, dict(found["versions"]))


def _make_venv(wanted: Plan, place: Place) -> None:
    base = replace(place, python=wanted.python)
    code, lines = run_tied(base, ["-I", "-m", "venv", str(wanted.folder / PYTHON.parts[0])])
    if code:
        said = last_lines("\n".join(lines))
        raise PythonMissing(
            f"{wanted.python} made no environment: install its venv module, then try again; it said:{said}"
        )


def _install_packages(wanted: Plan, place: Place, progress: Progress) -> None:
    lock = wanted.lock
    common = ["install", "--require-hashes", "--no-deps"]
    if backend := lock.block(_BACKEND):
        # What has no wheel is built with this one, which is held to its digest like the rest.
        alone = place.temporary / "backend.txt"
        alone.write_text(backend, encoding="utf-8")
        run_pip(place, [*common, "-r", str(alone)])
    build = torch_build(lock, place.temporary, lambda arguments: succeeds(place, arguments))
    packages = len(lock.pins)
    if build.besides is not None:
        check_room(wanted.folder, lock, build.besides)
        progress.say(NOT_AT_HAND.format(megabytes=(build.besides.download_bytes or 0) // 1_000_000))
        packages += len(build.besides.pins)
    progress.stage("download", packages)
    counter = _Counter(wanted.folder, progress, packages)
    run_pip(place, [*common, "--no-build-isolation", "-r", str(lock.path), *build.arguments], counter)


def check_room(folder: Path, *locks: Lock) -> None:
    """Refuse an installation that the disk has no room for; a lock that tells no size is not counted.

    Raises:
        DiskFull: Less is free than the packages and what is made of them take.
    """
    needed = sum((lock.installed_bytes or 0) + (lock.download_bytes or 0) for lock in locks)
    free = shutil.disk_usage(folder.parent).free
    if free < needed:
        raise DiskFull(
            f"{folder}: this takes about {needed / 1e9:.1f} GB while it is installed, and {free / 1e9:.1f} GB are "
            f"free: make room, or name a folder on another disk with ${FOLDER_VARIABLE}"
        )


class _Counter:
    """Reads from pip's lines and from the folder how far it is."""

    def __init__(self, folder: Path, progress: Progress, packages: int) -> None:
        self._folder, self._progress, self._packages = folder, progress, packages
        self._unpacking = False
        self._unpacked = {name for name in self._found() if name.startswith("pip-")}

    def heard(self, line: str) -> None:
        """Count what is fetched; note that the rest is unpacking."""
        if line.startswith(("Collecting ", "Processing ")):
            self._progress.advance(Path(line.split()[1]).name)
        elif line.startswith("Installing collected packages"):
            self._progress.stage("unpack", self._packages)
            self._unpacking = True

    def tick(self) -> None:
        """Count what is unpacked: pip says nothing while it does so."""
        for name in self._found() if self._unpacking else ():
            if name not in self._unpacked:
                self._unpacked.add(name)
                self._progress.advance(name)

    def _found(self) -> list[str]:
        return sorted(path.stem for path in self._folder.glob("venv/lib/python*/site-packages/*.dist-info"))


def _try(wanted: Plan) -> dict[str, Any]:
    """Import in the environment what it is for; return what the probe found."""
    unproven = Environment(wanted.name, wanted.folder / PYTHON, wanted.folder, {})
    order = {"import": wanted.lock.imports}
    try:
        found = run_unheld(unproven, "probe", order, wanted.folder / "tmp", _TRIED_WITHIN)
    except ConversionFailed as exc:
        raise ConverterNotInstalled(f"what was installed does not work here, and was removed: {exc}") from exc
    if found["outcome"] != "ok":
        raise ConverterNotInstalled(f"what was installed does not work here, and was removed: {found['error']}")
    return found


def disk_bytes(folder: Path) -> int:
    """Return what a folder takes on the disk [bytes]; links are not followed."""
    return sum(os.lstat(Path(here) / name).st_blocks * 512 for here, _, names in os.walk(folder) for name in names)
