"""The agent as a device has it: a wheel of this checkout, in an environment of its own, made without a network.

Decides: how wheel and environment are made in seconds: the packages that the agent needs are linked from the
environment that runs the tests. Leaves out: what is asserted.
"""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

from tests.e2e.world import ROOT, environment

SOURCES = (
    "agent",
    "controller",
    "wire",
    "configs",
    "locks",
    "models",
    "systemd",
    "pyproject.toml",
    "README.md",
    "LICENSE",
)
SITE = Path(sysconfig.get_path("purelib"))
EXTRAS = ("kernels", "onnxruntime")


def build_wheel(folder: Path, version: str | None = None) -> Path:
    """Return a wheel of this checkout, under another version if one is given."""
    source = folder / "source"
    source.mkdir(parents=True)
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(ROOT / name, source / name)
    if version is not None:
        project = source / "pyproject.toml"
        project.write_text(re.sub(r'(?m)^version = ".*"', f'version = "{version}"', project.read_text(), count=1))
    options = ["--quiet", "--no-build-isolation", "--no-deps", "--disable-pip-version-check"]
    run([sys.executable, "-m", "pip", "wheel", *options, "--wheel-dir", str(folder), str(source)])
    shutil.rmtree(source)
    return next(iter(folder.glob("thresher-*.whl")))


def make_environment(folder: Path, wheel: Path, extras: Sequence[str] = EXTRAS) -> Path:
    """Return the `agent` command of a fresh environment with `wheel` and what it needs."""
    venv.create(folder, symlinks=True, with_pip=False)
    site = next(iter(folder.glob("lib/python3.*/site-packages")))
    for name in _closure("thresher", extras, requires_of(wheel)):
        _link(metadata.distribution(name), site)
    python = folder / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "--disable-pip-version-check"]
    run([*pip, "install", "--quiet", "--no-deps", "--no-index", str(wheel)])
    return folder / "bin" / "agent"


def run(command: Sequence[str | Path], code: int = 0) -> subprocess.CompletedProcess[str]:
    """Run a command outside of this checkout; it must end with `code`."""
    kept = {name: text for name, text in environment().items() if name != "PYTHONPATH"}
    ended = subprocess.run(list(map(str, command)), capture_output=True, text=True, cwd="/", env=kept, check=False)
    assert ended.returncode == code, f"{ended.args} ended with {ended.returncode}:\n{ended.stdout}\n{ended.stderr}"
    return ended


def requires_of(wheel: Path) -> list[str]:
    """Return what a wheel says that it needs."""
    import zipfile

    with zipfile.ZipFile(wheel) as content:
        name = next(name for name in content.namelist() if name.endswith(".dist-info/METADATA"))
        lines = content.read(name).decode().splitlines()
    return [line.removeprefix("Requires-Dist: ") for line in lines if line.startswith("Requires-Dist: ")]


def _closure(distribution: str, extras: Sequence[str], lines: list[str]) -> set[str]:
    found: set[str] = set()
    waiting = [*_needed(lines, extras)]
    while waiting:
        requirement = waiting.pop()
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        if name == distribution or name in found:
            continue
        found.add(name)
        waiting += _needed(metadata.requires(name) or [], tuple(requirement.extras))
    return found


def _needed(lines: Sequence[str], extras: Sequence[str]) -> Iterator[Requirement]:
    for line in lines:
        requirement = Requirement(line)
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            yield requirement


def _link(distribution: metadata.Distribution, site: Path) -> None:
    for file in distribution.files or ():
        source = SITE / file
        if ".." in file.parts or not source.is_file():
            continue
        target = site / file
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(source, target)
        except OSError:  # another file system
            shutil.copy2(source, target)
