"""The locks of converter environments: which there are, for which Python, and what they say of themselves.

Decides: where locks lie (a clone, or share/thresher of an installation), how their file names are read, and what of
them stands for what they install. Leaves out: how they are made (`tools/lock.py`).

A lock's head names what is imported to try the environment, and how large it is:

    # imports: torch, coremltools
    # megabytes: 700 to download, 2300 installed
"""

import hashlib
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from controller.errors import NotFound

_FOLDERS = (
    Path(__file__).parents[3] / "locks" / "converters",  # a clone
    Path(sys.prefix) / "share" / "thresher" / "locks" / "converters",  # an installation
)
_FILE = re.compile(r"(?P<name>[a-z0-9]+)-py(?P<version>3\.\d+)\.txt")
_PIN = re.compile(r"^([a-z0-9][a-z0-9._-]*)==([^ ;\\]+)", flags=re.MULTILINE)
_MEGABYTES = re.compile(r"^# megabytes: (\d+) to download, (\d+) installed", flags=re.MULTILINE)
_IMPORTS = re.compile(r"^# imports: (.+)$", flags=re.MULTILINE)


@dataclass(frozen=True)
class Lock:
    """A lock's text and where it lies.

    `version`: of Python, like "3.11".
    """

    path: Path
    version: str
    text: str

    @property
    def digest(self) -> str:
        """SHA-256, hexadecimal, of what is installed: pins and digests, not the notes beside them."""
        lines = [line.strip() for line in self.text.splitlines() if not line.lstrip().startswith("#")]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    @property
    def pins(self) -> dict[str, str]:
        """Name -> version of each package."""
        return dict(_PIN.findall(self.text))

    @property
    def imports(self) -> list[str]:
        """Modules that must load for the environment to count."""
        found = _IMPORTS.search(self.text)
        return [name.strip() for name in found[1].split(",")] if found else []

    @property
    def download_bytes(self) -> int | None:
        """Size of the packages on Linux on x86-64, or null where the lock does not say."""
        found = _MEGABYTES.search(self.text)
        return int(found[1]) * 1_000_000 if found else None

    @property
    def installed_bytes(self) -> int | None:
        """Size of the environment on Linux on x86-64, or null where the lock does not say."""
        found = _MEGABYTES.search(self.text)
        return int(found[2]) * 1_000_000 if found else None

    def block(self, package: str) -> str | None:
        """Return the lines of one package, its digests among them, or null where the lock does not pin it."""
        found = re.search(rf"^{re.escape(package)}==.*(?:\n    --hash=.*)*", self.text, flags=re.MULTILINE)
        return found[0] + "\n" if found else None


def locks_of(name: str) -> dict[str, Lock]:
    """Return Python version -> lock of an environment, the newest version first.

    Raises:
        NotFound: The installation holds no lock of it.
    """
    folder = next((folder for folder in _FOLDERS if folder.is_dir()), None)
    files = sorted(folder.iterdir()) if folder else []
    found = {
        match["version"]: Lock(path, match["version"], path.read_text(encoding="utf-8"))
        for path in files
        if (match := _FILE.fullmatch(path.name)) and match["name"] == name
    }
    if not found:
        where = " or ".join(map(str, _FOLDERS))
        raise NotFound(f"no lock of the converter environment {name} in {where}; install thresher again")
    return dict(sorted(found.items(), key=lambda pair: int(pair[0].split(".")[1]), reverse=True))
