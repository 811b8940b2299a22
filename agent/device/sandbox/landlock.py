"""Which files a process may use: Landlock, which any process may impose on itself.

Decides: what reading and writing mean in the kernel's terms, by the version that it speaks. Leaves out: which paths
(`paths.py`). What is open already stays usable. Numbers: linux/landlock.h.
"""

import os
import stat
import struct
from collections.abc import Iterable
from pathlib import Path

from agent.device.sandbox import kernel

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION, _PATH_BENEATH = 1, 1

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
REMOVE_DIR, REMOVE_FILE, MAKE_DIR, MAKE_REG = 1 << 4, 1 << 5, 1 << 7, 1 << 8
REFER, TRUNCATE, IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
READ = EXECUTE | READ_FILE | READ_DIR
LIST = READ_DIR
WRITE = READ_FILE | READ_DIR | WRITE_FILE | REMOVE_DIR | REMOVE_FILE | MAKE_DIR | MAKE_REG | REFER | TRUNCATE
DEVICE = READ_FILE | READ_DIR | WRITE_FILE | TRUNCATE | IOCTL_DEV
REWRITE = WRITE_FILE | TRUNCATE
_OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV
_TCP = 0b11
_SCOPES = 0b11  # abstract Unix sockets and signals outside of this sandbox

Rule = tuple[Path, int]


def version() -> int:
    """Return the version of Landlock that the kernel speaks; 0: none."""
    try:
        return kernel.syscall(_CREATE_RULESET, None, 0, _VERSION)
    except OSError:
        return 0


def apply(rules: Iterable[Rule], network: bool) -> int:
    """Allow this thread, and what it starts, the files of `rules` and no others; return the version that holds it.

    Without `network` it gets no TCP either, where the version rules that. PR_SET_NO_NEW_PRIVS must be set.

    Raises:
        OSError: The kernel has no Landlock.
    """
    spoken = version()
    handled = _handled(spoken)
    attributes = struct.pack("=QQQ", handled, 0 if network else _TCP, 0 if network else _SCOPES)
    size = 8 if spoken < 4 else 16 if spoken < 6 else 24
    ruleset = kernel.syscall(_CREATE_RULESET, kernel.pointer(attributes[:size]), size, 0)
    try:
        for path, access in rules:
            _allow(ruleset, path, access & handled)
        kernel.syscall(_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)
    return spoken


def _handled(spoken: int) -> int:
    bits = 13 + (spoken >= 2) + (spoken >= 3) + (spoken >= 5)
    return (1 << bits) - 1


def _allow(ruleset: int, path: Path, access: int) -> None:
    """Add a rule; what does not exist or cannot be seen needs none."""
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
            access &= _OF_FILES
        rule = kernel.pointer(struct.pack("=Qi", access, descriptor))
        kernel.syscall(_ADD_RULE, ruleset, _PATH_BENEATH, rule, 0)
    finally:
        os.close(descriptor)
