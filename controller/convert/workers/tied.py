"""`python tied.py PARENT_PID COMMAND...`: become a command that the kernel ends when the parent ends.

The parent-death signal survives `exec`, so the command need not know of it. Run as a file: it needs nothing on the
path. Where the system has no such signal (only Linux has), the command runs without.
"""

import ctypes
import os
import signal
import sys
from contextlib import suppress

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main() -> None:
    """Tie this process to its parent, then become the command."""
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(sys.argv[1]):
        sys.exit("whoever started this has ended")
    os.execv(sys.argv[2], sys.argv[2:])


if __name__ == "__main__":
    main()
