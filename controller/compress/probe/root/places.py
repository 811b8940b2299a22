"""Where the local root for ARM processors lies, and whether it counts.

Decides: the folder, and that a root counts only with the `complete.json` that its installation wrote, made from the
locks that this release ships. Leaves out: making one (`install.py`).

    required().python  # ProbeRootMissing names the command where it is not there
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from controller.compress.probe.root.locks import root_locks
from controller.convert.environments.places import data_folder, record_of
from controller.errors import ProbeRootMissing

MACHINE = "aarch64"
FOLDER_VARIABLE = "THRESHER_PROBE_ROOTS"
SYSTEM, PACKAGES = "system", "packages"
"""Debian's files, and the wheels'."""

PYTHON = Path("usr") / "bin" / "python3.11"
"""Within what programs take for `/`."""

CALLED = "the probe's root"
"""In messages, before the name of its folder."""

INSTALL = "controller model probe --install"


@dataclass(frozen=True)
class Root:
    """A root that is wholly installed. versions: of its packages, by distribution."""

    folder: Path
    versions: dict[str, str]
    digest: str


def folder() -> Path:
    """Return where roots lie: $THRESHER_PROBE_ROOTS, else thresher/probe in the user's data folder."""
    return data_folder(FOLDER_VARIABLE, "probe")


def root_folder() -> Path:
    """Return the folder of the root, installed or not."""
    return folder() / MACHINE


def required() -> Root:
    """Return the root.

    Raises:
        ProbeRootMissing: It is not installed; the text names the command that installs it.
    """
    if (because := fault()) is not None:
        raise ProbeRootMissing(f"the root for ARM processors {because}: run  {INSTALL}")
    record = complete(root_folder())
    return Root(root_folder(), dict(record["versions"]), record["locks_sha256"])


def fault() -> str | None:
    """Return why the root does not count, or null where it does."""
    if not root_folder().is_dir():
        return "is not installed"
    record = complete(root_folder())
    if not record:
        return "is only partly there"
    if record["locks_sha256"] != root_locks().digest:
        return "was made from other locks than this release's"
    return None


def complete(root: Path) -> dict[str, Any]:
    """Return what an installation wrote when it was done; empty where none was ever done."""
    return record_of(root, {"versions", "locks_sha256", "disk_bytes"})


def status() -> dict[str, Any]:
    """Return what is there, as JSON types; `fault` says why it does not count, null: it does."""
    record = complete(root_folder())
    return {
        "machine": MACHINE,
        "folder": str(root_folder()),
        "installed": fault() is None,
        "fault": fault(),
        "disk_bytes": record.get("disk_bytes"),
        "versions": record.get("versions", {}),
    }
