"""Wheels of a few lines, locks of a few wheels, and a virtual environment to copy: no network, little time."""

import hashlib
import shutil
import sys
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from controller.convert.environments import locks, make
from controller.convert.environments.make import Plan
from controller.convert.environments.pip import Place
from controller.convert.environments.places import PYTHON

VERSION = f"{sys.version_info[0]}.{sys.version_info[1]}"


@dataclass
class Told:
    """A progress that keeps what it is told."""

    stages: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def stage(self, name: str, total: int) -> None:  # noqa: ARG002
        self.stages.append(name)

    def advance(self, note: str = "") -> None:
        self.notes.append(note)

    def say(self, text: str) -> None:
        self.notes.append(text)


@dataclass(frozen=True)
class Shelf:
    """A folder of wheels and a folder of locks that name them."""

    wheels: Path
    locks: Path

    def wheel(self, name: str, source: str = "", version: str = "1.0") -> str:
        """Make a wheel with one module; return its line in a lock."""
        path = self.wheels / f"{name}-{version}-py3-none-any.whl"
        info = f"{name}-{version}.dist-info"
        files = {
            f"{name}.py": source,
            f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
            f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        }
        record = "".join(f"{file},,\n" for file in [*files, f"{info}/RECORD"])
        with zipfile.ZipFile(path, "w") as archive:
            for file, text in {**files, f"{info}/RECORD": record}.items():
                archive.writestr(file, text)
        return pin(name, hashlib.sha256(path.read_bytes()).hexdigest(), version)

    def lock(
        self, pins: Sequence[str], name: str = "torch", imports: str = "", megabytes: str = "", version: str = VERSION
    ) -> Path:
        """Write a lock; return its path."""
        head = (f"# imports: {imports}\n" if imports else "") + (f"# megabytes: {megabytes}\n" if megabytes else "")
        path = self.locks / f"{name}-py{version}.txt"
        path.write_text(head + "".join(pins))
        return path


def pin(name: str, digest: str, version: str = "1.0") -> str:
    return f"{name}=={version} \\\n    --hash=sha256:{digest}\n"


def use(shelf: Shelf, environments: Path, patch: pytest.MonkeyPatch) -> None:
    """Let installations take their locks and wheels from `shelf`."""
    patch.setattr(locks, "_FOLDERS", (shelf.locks,))
    for name, value in offline(shelf, environments).items():
        patch.setenv(name, value)


def use_template(template: Path, patch: pytest.MonkeyPatch) -> None:
    """Let installations copy their virtual environment from `template`."""

    def copied(wanted: Plan, _place: Place) -> None:
        shutil.copytree(template, wanted.folder / "venv", symlinks=True)

    patch.setattr(make, "_make_venv", copied)


def offline(shelf: Shelf, environments: Path) -> Mapping[str, str]:
    return {
        "THRESHER_CONVERTERS": str(environments),
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(shelf.wheels),
        "PIP_RETRIES": "0",
        "PIP_CONFIG_FILE": "/dev/null",
    }


def use_no_pip(patch: pytest.MonkeyPatch) -> None:
    """Let installations take the base Python as it is and install nothing: for tests of what surrounds pip."""

    def linked(wanted: Plan, _place: Place) -> None:
        python = wanted.folder / PYTHON
        python.parent.mkdir(parents=True)
        python.symlink_to(base_python())

    patch.setattr(make, "_make_venv", linked)
    patch.setattr(make, "_install_packages", lambda *_: None)


def base_python() -> Path:
    return Path(sys.base_prefix) / "bin" / f"python{VERSION}"


def make_template(folder: Path, lock: locks.Lock) -> Path:
    """Make a virtual environment as installations do; seconds, so once for all tests that install."""
    temporary = folder / "tmp"
    temporary.mkdir(parents=True)
    wanted = Plan("torch", folder, lock, base_python(), 0, None, None)
    with temporary.joinpath("lock").open("w") as held:
        make._make_venv(wanted, Place(folder / PYTHON, temporary, held.fileno()))
    return folder / "venv"


def main() -> None:
    """Install `torch` from a shelf: `python -m … WHEELS LOCKS TEMPLATE ENVIRONMENTS`, for tests that kill it."""
    from controller.convert.environments import install

    wheels, made, template, environments = map(Path, sys.argv[1:])
    with pytest.MonkeyPatch.context() as patch:
        use(Shelf(wheels, made), environments, patch)
        use_template(template, patch)
        patch.delenv("PIP_NO_INDEX")
        install("torch", Told())


if __name__ == "__main__":
    main()
