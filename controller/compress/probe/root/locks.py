"""The two locks of the root for ARM processors: Debian's packages, and wheels.

Decides: where they lie (a clone, or share/thresher of an installation) and how they are read. Leaves out: fetching.

A line of the first names a file of a Debian mirror, its size and its digest; the second is one of pip's:

    pool/main/z/zlib/zlib1g_1.2.13.dfsg-1_arm64.deb 82744 sha256:52b8…
"""

import hashlib
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from controller.convert.environments.locks import Lock
from controller.errors import NotFound

PYTHON_VERSION = "3.11"
"""Of the release of Debian that the packages are of."""

_FOLDERS = (
    Path(__file__).parents[4] / "locks" / "probe",  # a clone
    Path(sys.prefix) / "share" / "thresher" / "locks" / "probe",  # an installation
)
_DEBIAN, _WHEELS = "aarch64-debian12.txt", f"aarch64-py{PYTHON_VERSION}.txt"
_RELEASE = re.compile(r"^# release: (\w+)$", flags=re.MULTILINE)
_LINE = re.compile(r"(?P<path>pool/\S+\.deb) (?P<size>\d+) sha256:(?P<digest>[0-9a-f]{64})")


@dataclass(frozen=True)
class Package:
    """A Debian package: its file on a mirror, size [bytes], SHA-256."""

    path: str
    size_bytes: int
    sha256: str

    @property
    def name(self) -> str:
        """The file's name."""
        return self.path.rpartition("/")[2]


@dataclass(frozen=True)
class RootLocks:
    """What a root is made of. release: Debian's, by its code name."""

    release: str
    packages: tuple[Package, ...]
    wheels: Lock

    @property
    def digest(self) -> str:
        """SHA-256, hexadecimal, of all that is installed."""
        parts = [*(f"{each.path} {each.sha256}" for each in self.packages), self.wheels.digest]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    @property
    def download_bytes(self) -> int:
        """Size of what is fetched."""
        return sum(each.size_bytes for each in self.packages) + (self.wheels.download_bytes or 0)

    @property
    def installed_bytes(self) -> int:
        """Size of the root."""
        return self.wheels.installed_bytes or 0


def root_locks() -> RootLocks:
    """Return the locks of this release.

    Raises:
        NotFound: The installation holds none.
    """
    folder = next((folder for folder in _FOLDERS if folder.is_dir()), None)
    if folder is None:
        raise NotFound(f"no locks of the probe's root in {' or '.join(map(str, _FOLDERS))}; install thresher again")
    release, packages = read_packages((folder / _DEBIAN).read_text(encoding="utf-8"))
    wheels = folder / _WHEELS
    return RootLocks(release, packages, Lock(wheels, PYTHON_VERSION, wheels.read_text(encoding="utf-8")))


def read_packages(text: str) -> tuple[str, tuple[Package, ...]]:
    """Return Debian's release and the packages that a lock names.

    Raises:
        ValueError: A line that is no package, or no release.
    """
    release = _RELEASE.search(text)
    if release is None:
        raise ValueError("the lock names no release of Debian: expected a line  # release: NAME")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    found = [_LINE.fullmatch(line) for line in lines]
    if wrong := [line for line, match in zip(lines, found, strict=True) if match is None]:
        raise ValueError(f"no package of a mirror, its size and its digest: {wrong[0]!r}")
    return release[1], tuple(Package(each["path"], int(each["size"]), each["digest"]) for each in found if each)
