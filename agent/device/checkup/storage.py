"""Where the agent keeps things: is there room, may it be written, and how long will it last?"""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from agent.config import AgentConfig
from agent.device.checkup.finding import Finding, text_of

LEAST_DISK_BYTES = 512 * 1024 * 1024
_CARD = "/dev/mmcblk"


@dataclass(frozen=True)
class Mount:
    """A line of /proc/mounts."""

    device: str
    folder: PurePosixPath
    options: frozenset[str]


def disk(config: AgentConfig, root: Path) -> list[Finding]:
    """Look at the disk of the state folder."""
    findings = [_room(config)]
    mount = mount_of(config.state_dir, root)
    if mount is not None and "ro" in mount.options:
        remedy = "mount it for writing: a worn card goes read-only by itself, and wants to be replaced"
        findings.append(Finding("file system", "missing", f"{mount.folder} is read-only", remedy))
    elif mount is not None and mount.device.startswith(_CARD) and "noatime" not in mount.options:
        found = f"{config.state_dir} lies on a card ({mount.device}) that is written on reading, too"
        findings.append(
            Finding("card", "warning", found, f"add noatime to the options of {mount.folder} in /etc/fstab")
        )
    return findings


def mount_of(path: Path, root: Path) -> Mount | None:
    """Return what `path` lies on; None where the system does not tell."""
    plain = PurePosixPath(os.path.normpath(path))
    found = [mount for mount in _mounts(root) if plain.is_relative_to(mount.folder)]
    # The last of equal ones lies on top.
    return max(enumerate(found), key=lambda each: (len(each[1].folder.parts), each[0]))[1] if found else None


def _room(config: AgentConfig) -> Finding:
    folder = next(path for path in (config.state_dir, *config.state_dir.parents) if path.exists())
    free = shutil.disk_usage(folder).free
    found = f"{free // 1024**2} MiB free for {config.state_dir}"
    if free >= LEAST_DISK_BYTES:
        return Finding("disk", "ok", found)
    return Finding("disk", "warning", found, f"free {LEAST_DISK_BYTES // 1024**2} MiB or more for bundles")


def _mounts(root: Path) -> list[Mount]:
    rows = [line.split() for line in text_of(root / "proc/mounts").splitlines()]
    return [
        Mount(row[0], PurePosixPath(row[1].replace("\\040", " ")), frozenset(row[3].split(",")))
        for row in rows
        if len(row) >= 4
    ]
