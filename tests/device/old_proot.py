"""Run a command with the system call `faccessat2` switched off: `python3 old_proot.py PROOT ARGUMENT...`.

Decides: one thing. Debian's proot does not know `faccessat2` and leaves its path as it is, so that `access()` in the
emulated root would look at the host's files. With "no such call" for an answer, the C library takes the older one,
which proot knows. Leaves out: everything else; it needs Python alone.
"""

import ctypes
import errno
import os
import struct
import sys

FACCESSAT2 = 439
"""The same number on every architecture."""

PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS = 22, 38
SECCOMP_MODE_FILTER = 2
PROGRAM = (
    (0x20, 0, 0, 0),  # load the number of the call
    (0x15, 0, 1, FACCESSAT2),  # another one: over the next line
    (0x06, 0, 0, 0x00050000 | errno.ENOSYS),  # answer: no such call
    (0x06, 0, 0, 0x7FFF0000),  # let it pass
)
"""(code, jump if true, jump if false, constant) of a classic packet filter."""


class Filter(ctypes.Structure):
    """`struct sock_fprog`."""

    _fields_ = [("length", ctypes.c_ushort), ("program", ctypes.c_void_p)]


def main(command: list[str]) -> None:
    """Take the filter on and become the command."""
    code = b"".join(struct.pack("=HBBI", *line) for line in PROGRAM)
    kept = ctypes.create_string_buffer(code, len(code))
    wanted = Filter(len(PROGRAM), ctypes.addressof(kept))
    control = ctypes.CDLL(None, use_errno=True).prctl
    if control(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or control(
        PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(wanted), 0, 0
    ):
        sys.exit(f"old_proot.py: no filter can be set: {os.strerror(ctypes.get_errno())}")
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1:])
