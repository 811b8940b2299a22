"""The few calls into the kernel that Python has no function for.

Decides: how they are made and how their failure is told. Leaves out: what they are made for.
"""

from __future__ import annotations

import os
import sys
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ctypes  # loaded by the functions: the control process imports this for names

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47


@cache
def libc() -> ctypes.CDLL:
    import ctypes

    found = ctypes.CDLL(None, use_errno=True)
    found.syscall.restype = ctypes.c_long
    return found


def prctl(option: int, *arguments: int) -> int:
    """Call prctl(2).

    Raises:
        OSError: The kernel refused.
    """
    import ctypes

    padded = [ctypes.c_ulong(each) for each in (*arguments, 0, 0, 0, 0)[:4]]
    return _checked(libc().prctl(ctypes.c_int(option), *padded), f"prctl {option}")


def syscall(number: int, *arguments: int | ctypes.c_void_p | None) -> int:
    """Make a system call by its number.

    Raises:
        OSError: The kernel refused, or does not know it (ENOSYS).
    """
    import ctypes

    passed = [ctypes.c_long(each) if isinstance(each, int) else each for each in arguments]
    return _checked(libc().syscall(ctypes.c_long(number), *passed), f"system call {number}")


def pointer(content: bytes) -> ctypes.c_void_p:
    """Return the address of a copy of `content`, which lives as long as the pointer does."""
    import ctypes

    return ctypes.cast(ctypes.create_string_buffer(content, len(content)), ctypes.c_void_p)


def is_64_bit() -> bool:
    """Return whether this process is a 64-bit one: the kernel's `uname` says nothing about that."""
    return sys.maxsize > 2**32


def _checked(result: int, what: str) -> int:
    import ctypes

    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result
