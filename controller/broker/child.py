"""The embedded broker's process: `python -m controller.broker.child CONFIG PARENT_PID`.

The broker has no shutdown call, so it runs in a process of its own that ends with SIGTERM, and that the kernel ends
when its parent dies, however the parent dies.
"""

import ctypes
import logging
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def die_with_parent(parent_pid: int, how: signal.Signals = signal.SIGKILL) -> None:
    """Ask the kernel to signal this process when the thread that started it ends; leave at once if that has happened.

    Args:
        parent_pid: Process that started this one.
        how: Signal to get then.
    Raises:
        OSError: The kernel refuses.
    """
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, how) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent_pid:
        raise SystemExit(0)


def main() -> None:
    """Run the broker until a signal ends it."""
    config_path, parent_pid = sys.argv[1], int(sys.argv[2])
    die_with_parent(parent_pid)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    # rumqttd opens an error-level span for every packet; its records are no errors.
    logging.getLogger("rumqttd").setLevel(logging.CRITICAL)
    from iotcore import IotCoreBroker

    IotCoreBroker(config_path=config_path).run_forever()


if __name__ == "__main__":
    main()
