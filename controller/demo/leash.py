"""`python -m controller.demo.leash PARENT_PID COMMAND...`: runs a command that ends when its parent does.

The parent-death signal survives `exec`, so the command need not know of it.
"""

import os
import signal
import sys

from controller.broker.child import die_with_parent


def main() -> None:
    """Tie this process to its parent, then become the command."""
    die_with_parent(int(sys.argv[1]), signal.SIGTERM)
    os.execvp(sys.argv[2], sys.argv[2:])


if __name__ == "__main__":
    main()
