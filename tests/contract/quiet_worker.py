"""Run a module whose process is killed as soon as it makes a socket of any network: `python quiet_worker.py MODULE …`.

A filter in the kernel sees native code as well, which no audit hook of Python does.
"""

import platform
import runpy
import struct
import sys

from agent.device.sandbox import kernel
from agent.device.sandbox.seccomp import program
from agent.device.sandbox.syscalls import MACHINES, SECCOMP, WORKER

KILL_PROCESS, ALLOW = 0x80000000, 0x7FFF0000
LOAD, IF_EQUAL, RETURN = 0x20, 0x15, 0x06
NUMBER, FIRST_ARGUMENT = 0, 16
AF_UNIX = 1


def forbid_networks() -> None:
    """Have the kernel end this process at the first socket that is none between processes of this host."""
    machine = MACHINES[platform.machine()]
    code = [
        (LOAD, 0, 0, NUMBER),
        (IF_EQUAL, 0, 3, WORKER["socket"][machine]),
        (LOAD, 0, 0, FIRST_ARGUMENT),
        (IF_EQUAL, 1, 0, AF_UNIX),
        (RETURN, 0, 0, KILL_PROCESS),
        (RETURN, 0, 0, ALLOW),
    ]
    assert program(machine, True, 1)  # the product's own filter stands for the same architectures
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    instructions = kernel.pointer(b"".join(struct.pack("=HBBI", *each) for each in code))
    described = kernel.pointer(struct.pack("@HP", len(code), instructions.value))
    kernel.syscall(SECCOMP[machine], 1, 0, described)


if __name__ == "__main__":
    forbid_networks()
    module, sys.argv = sys.argv[1], sys.argv[1:]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
