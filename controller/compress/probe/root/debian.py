"""Fetch and unpack Debian's packages for another architecture, with this machine's own apt and dpkg.

Decides: which mirror, and that nothing is installed here: files are fetched by digest and unpacked into a folder.
Leaves out: which packages (`locks.py`).
"""

import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from controller.compress.probe.root.locks import Package
from controller.convert.environments.watch import last_lines
from controller.errors import ProbeRootNotInstalled

FETCH = Path("/usr/lib/apt/apt-helper")
"""Part of apt: one file by its address and digest, through the proxies that apt is told of."""

_LONGEST_STEP_S = 600.0


def check_tools() -> None:
    """Refuse a machine that has neither apt nor dpkg.

    Raises:
        ProbeRootNotInstalled: What is missing.
    """
    missing = [name for name in ("apt-get", "dpkg-deb") if shutil.which(name) is None]
    missing += [] if FETCH.exists() else [str(FETCH)]
    if missing:
        raise ProbeRootNotInstalled(
            f"the root is made of Debian's packages, with the tools of Debian or Ubuntu, and {', '.join(missing)} "
            f"{'is' if len(missing) == 1 else 'are'} not here: install it on such a machine"
        )


def mirror_of(release: str) -> str:
    """Return the address of a mirror of a release that apt here knows.

    Raises:
        ProbeRootNotInstalled: It knows none.
    """
    listing = ["apt-get", "indextargets", "--format", "$(CODENAME) $(REPO_URI)", "Created-By: Packages"]
    for line in _output(listing, "apt's list of mirrors").splitlines():
        name, _, address = line.partition(" ")
        if name == release:
            return address
    raise ProbeRootNotInstalled(
        f"apt here knows no mirror of Debian's release {release}: name one by --mirror, as it stands in apt's sources"
    )


def fetch(packages: Sequence[Package], mirror: str, folder: Path, told: Callable[[str], None]) -> list[Path]:
    """Fetch packages into a folder and return their files.

    Args:
        packages: What is fetched.
        mirror: Address of a mirror's top.
        folder: Gets them.
        told: Is called with each file's name.
    Raises:
        ProbeRootNotInstalled: A mirror that does not answer or has a package no more, or another digest.
    """
    paths = []
    for each in packages:
        paths.append(folder / each.name)
        address = f"{mirror.rstrip('/')}/{each.path}"
        _output([str(FETCH), "download-file", address, str(paths[-1]), f"SHA256:{each.sha256}"], each.name)
        told(each.name)
    return paths


def unpack(packages: Sequence[Path], folder: Path, told: Callable[[str], None]) -> None:
    """Unpack packages into one folder. None is configured: their programs run as they are.

    Raises:
        ProbeRootNotInstalled: One is damaged, or there is no room.
    """
    for path in packages:
        _output(["dpkg-deb", "-x", str(path), str(folder)], path.name)
        told(path.name)


def _output(command: Sequence[str], what: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_LONGEST_STEP_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise ProbeRootNotInstalled(f"{what}: {command[0]} did not do it ({exc}); nothing was installed") from exc
    if done.returncode:
        raise ProbeRootNotInstalled(
            f"{what}: {command[0]} failed, and nothing was installed; where the mirror has this file no more, name by "
            f"--mirror one that keeps it; the last it said:{last_lines(done.stdout + done.stderr)}"
        )
    return done.stdout
