"""Whom a worker is: a user of its own where the agent may change to one, and no capabilities in any case.

Decides: when that can be done, and how the worker's files are made its own. Leaves out: what else holds it. The agent
must be allowed to change user and group (CAP_SETUID, CAP_SETGID) and to end a process of that user (CAP_KILL): without
the last one the kernel would not even end it when the agent dies.
"""

import contextlib
import os
import pwd
import stat
import struct
import sys
from collections.abc import Iterable
from pathlib import Path

import agent
from agent.device.sandbox import kernel

_CAP_KILL, _CAP_SETGID, _CAP_SETUID = 5, 6, 7
_CAPSET = {"x86_64": 126, "aarch64": 91}
_VERSION_3 = 0x20080522
_AMBIENT_CLEAR_ALL = 4


def may_switch() -> bool:
    """Return whether this process may run workers as another user."""
    needed = 1 << _CAP_KILL | 1 << _CAP_SETGID | 1 << _CAP_SETUID
    return capabilities() & needed == needed


def capabilities(status: Path = Path("/proc/self/status"), held: str = "CapEff") -> int:
    """Return this process's effective (or, by the name in `status`, other) capabilities, a bit each."""
    with contextlib.suppress(OSError, ValueError):
        for line in status.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith(f"{held}:"):
                return int(line.split()[1], 16)
    return 0


def why_not(user: str) -> str | None:
    """Return why workers cannot run as `user`; None where they can."""
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        return f"there is no user {user}: `useradd --system {user}`"
    if entry.pw_uid == 0:
        return "workers are not run as root"
    if not may_switch():
        return "the agent lacks CAP_SETUID, CAP_SETGID or CAP_KILL: add the unit's drop-in workers.conf"
    for folder in {sys.prefix, sys.base_prefix, str(Path(agent.__file__).parent)}:
        if not _reaches(entry, Path(folder).resolve()):
            return f"{user} cannot reach {folder}: install where every user may read"
    return None


def hand_over(user: str, readable: Iterable[Path], writable: Iterable[Path]) -> None:
    """Let the group of `user` read or write these paths, and all of theirs pass through the folders above.

    The agent must be root, or in that group and the owner of the files.

    Raises:
        OSError: It is neither.
    """
    group = pwd.getpwnam(user).pw_gid
    for paths, write in ((readable, False), (writable, True)):
        for top in paths:
            if not top.exists():
                continue
            for path in [top, *(top.rglob("*") if top.is_dir() else ())]:
                _open_to_group(path, group, write)
            _let_through(top.resolve())


def become(user: str) -> None:
    """Change this process to `user` and its groups, for good.

    Raises:
        OSError: It may not.
    """
    entry = pwd.getpwnam(user)
    os.initgroups(user, entry.pw_gid)
    os.setresgid(entry.pw_gid, entry.pw_gid, entry.pw_gid)
    os.setresuid(entry.pw_uid, entry.pw_uid, entry.pw_uid)
    # Its /proc files belong to root until then: it could not reset its own peak of memory.
    kernel.prctl(kernel.PR_SET_DUMPABLE, 1)
    os.umask(0o027)  # the agent is in its group, and reads its results


def drop_capabilities() -> None:
    """Give up every capability. With PR_SET_NO_NEW_PRIVS none comes back, not even to root.

    Raises:
        OSError: The kernel refused.
    """
    if capabilities(held="CapPrm") == 0:
        return  # a hardened unit refuses the call itself
    with contextlib.suppress(OSError):  # since Linux 4.3
        kernel.prctl(kernel.PR_CAP_AMBIENT, _AMBIENT_CLEAR_ALL)
    number = _CAPSET.get(os.uname().machine) if kernel.is_64_bit() else None
    if number is not None:
        kernel.syscall(number, kernel.pointer(struct.pack("=Ii", _VERSION_3, 0)), kernel.pointer(bytes(24)))


def _reaches(entry: pwd.struct_passwd, folder: Path) -> bool:
    """Return whether a user may pass through all folders to `folder` and look into it."""
    groups = set(os.getgrouplist(entry.pw_name, entry.pw_gid))
    for each, needed in [(folder, 0o5), *((parent, 0o1) for parent in folder.parents)]:
        found = each.stat()
        shift = 6 if found.st_uid == entry.pw_uid else 3 if found.st_gid in groups else 0
        if (found.st_mode >> shift) & needed != needed:
            return False
    return True


def _open_to_group(path: Path, group: int, write: bool) -> None:
    found = path.lstat()
    if stat.S_ISLNK(found.st_mode):
        return
    wanted = found.st_mode | (0o060 if write else 0o040) | (0o010 if found.st_mode & 0o100 else 0)
    if found.st_gid != group:
        os.chown(path, -1, group, follow_symlinks=False)
    if stat.S_IMODE(wanted) != stat.S_IMODE(found.st_mode):
        path.chmod(stat.S_IMODE(wanted))


def _let_through(path: Path) -> None:
    """Let others pass, not look, through the agent's own folders above `path`."""
    for folder in path.parents:
        found = folder.stat()
        if not found.st_mode & 0o001 and found.st_uid == os.geteuid():
            folder.chmod(stat.S_IMODE(found.st_mode) | 0o001)
