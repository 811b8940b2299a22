"""What a device's environment takes on its disk: the files that the packages of a lock have installed here.

Leaves out: the interpreter, which the system brings. Compiled modules (`__pycache__`) count where they lie: they come
with the first import.
"""

import importlib.metadata
import importlib.util
import platform
import re
from collections.abc import Iterator
from pathlib import Path

from benchmarks.common import MEGABYTE, Claim, at_most, not_measured, repository

LARGEST_MB = {"base": 80, "pi": 550}
OWN = ("agent", "controller", "wire")


def disk_claims() -> list[Claim]:
    """Return the claims on the environments of a device: without an engine, and with what a Raspberry Pi gets."""
    return [disk_claim(profile, limit_mb) for profile, limit_mb in LARGEST_MB.items()]


def disk_claim(profile: str, limit_mb: float) -> Claim:
    """Return the claim on the environment of one lock."""
    name = f"environment {profile}, on the disk"
    lock = repository() / "locks" / f"{profile}-py{'.'.join(platform.python_version_tuple()[:2])}.txt"
    if not lock.is_file():
        return not_measured(name, "MB", f"<= {limit_mb}", f"no {lock.name}")
    sizes = {package: installed_bytes(package) for package in locked(lock.read_text())}
    found = {package: size for package, size in sizes.items() if size is not None}
    missing = sorted(sizes.keys() - found.keys())
    if missing:
        return not_measured(name, "MB", f"<= {limit_mb}", f"not installed here: {', '.join(missing)}")
    own = sum(folder_bytes(repository() / folder) for folder in OWN)
    largest = sorted(found.items(), key=lambda each: -each[1])[:4]
    how = f"{len(found)} packages of {lock.name} and Thresher ({own / MEGABYTE:.1f}), without Python; largest: "
    how += ", ".join(f"{package} {size / MEGABYTE:.0f}" for package, size in largest)
    return at_most(name, (sum(found.values()) + own) / MEGABYTE, limit_mb, "MB", how)


def locked(text: str) -> list[str]:
    """Return the packages that a lock pins."""
    return re.findall(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==", text, flags=re.MULTILINE)


def installed_bytes(package: str) -> int | None:
    """Return the size of an installed package's files; None where it is not installed."""
    try:
        files = importlib.metadata.files(package)
    except importlib.metadata.PackageNotFoundError:
        return None
    paths = {Path(str(file.locate())) for file in files or ()}
    paths |= {Path(importlib.util.cache_from_source(str(path))) for path in paths if path.suffix == ".py"}
    return sum(path.stat().st_size for path in paths if path.is_file())


def folder_bytes(folder: Path) -> int:
    """Return the size of all files below a folder; one that goes meanwhile does not count."""
    return sum(_sizes(folder))


def _sizes(folder: Path) -> Iterator[int]:
    for path in folder.rglob("*"):
        try:
            yield path.lstat().st_size if not path.is_dir() else 0
        except FileNotFoundError:
            continue
