"""Which system calls a worker may make: a filter in the kernel (seccomp), for this process and all that it starts.

Decides: the filter. A worker gets no sockets besides what it was given, sends no signals but to itself, and reaches
none of the kernel's rarer parts; the gateway, which needs the network, is only kept from those. Leaves out: files
(`landlock.py`). Classic BPF, because it needs no library. x86_64 and aarch64; elsewhere nothing is applied, and told.
"""

import contextlib
import errno
import os
import platform
import struct

from agent.device.sandbox import kernel
from agent.device.sandbox.syscalls import (
    CLONE,
    IOCTL,
    MACHINES,
    PRLIMIT64,
    SECCOMP,
    SIGNALS,
    SOCKETPAIR,
    SURFACE,
    UNKNOWN,
    WORKER,
    X86_64,
    Table,
)

_AUDIT_ARCHITECTURES = (0xC000003E, 0xC00000B7)
_X32_BIT = 0x40000000
_SET_MODE_FILTER, _GET_ACTION_AVAILABLE = 1, 2
_SPEC_ALLOW = 1 << 2
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000

_LOAD, _AND, _RETURN = 0x20, 0x54, 0x06
_IF_EQUAL, _IF_AT_LEAST, _IF_ANY_BIT = 0x15, 0x35, 0x45
_NR, _ARCH, _ARGUMENTS = 0, 4, 16

_NEW_NAMESPACES = 0x7E020000
_AF_UNIX, _SOCK_STREAM, _SOCK_TYPE_MASK = 1, 1, 0xF
_TERMINAL_INPUT = (0x5412, 0x541C)  # TIOCSTI, TIOCLINUX: typing into the terminal that the agent was started from

Instruction = tuple[int, int, int, int]


def is_available() -> bool:
    """Return whether this kernel filters system calls, and the filter knows this architecture."""
    if not kernel.is_64_bit() or platform.machine() not in MACHINES:
        return False
    try:
        number = SECCOMP[MACHINES[platform.machine()]]
        kernel.syscall(number, _GET_ACTION_AVAILABLE, 0, kernel.pointer(struct.pack("=I", _ERRNO)))
    except OSError:
        return False
    return True


def apply(network: bool) -> None:
    """Filter this process's system calls from now on. PR_SET_NO_NEW_PRIVS must be set.

    Raises:
        OSError: The kernel has no filters.
    """
    machine = MACHINES.get(platform.machine())
    if machine is None or not kernel.is_64_bit():
        raise OSError(errno.ENOSYS, f"no system-call filter for {platform.machine()}")
    code = program(machine, network, os.getpid())
    instructions = kernel.pointer(b"".join(struct.pack("=HBBI", *each) for each in code))
    described = kernel.pointer(struct.pack("@HP", len(code), instructions.value))
    with contextlib.suppress(OSError):
        # Without this, kernels before 5.16 turn speculation off for filtered processes: inference slows down.
        kernel.syscall(SECCOMP[machine], _SET_MODE_FILTER, _SPEC_ALLOW, described)
        return
    kernel.syscall(SECCOMP[machine], _SET_MODE_FILTER, 0, described)


def program(machine: int, network: bool, pid: int) -> list[Instruction]:
    """Return the filter of a process: refused calls fail with EPERM, some with ENOSYS, all others are made."""
    code: list[Instruction] = [(_LOAD, 0, 0, _ARCH), (_IF_EQUAL, 1, 0, _AUDIT_ARCHITECTURES[machine]), _refuse()]
    code.append((_LOAD, 0, 0, _NR))
    if machine == X86_64:
        code += [(_IF_AT_LEAST, 0, 1, _X32_BIT), _refuse(errno.ENOSYS)]
    code += _refused(SURFACE, machine)
    code += _refused(UNKNOWN, machine, errno.ENOSYS)
    code += _unless(CLONE[machine], 0, [(_IF_ANY_BIT, 1, 0, _NEW_NAMESPACES)])
    code += _unless(IOCTL[machine], 1, [(_IF_EQUAL, 2, 0, _TERMINAL_INPUT[0]), (_IF_EQUAL, 1, 0, _TERMINAL_INPUT[1])])
    if not network:
        code += _refused(WORKER, machine) + _stream_pairs(machine)
        for numbers in SIGNALS.values():
            code += _for_itself(numbers[machine], [pid])
        code += _for_itself(PRLIMIT64[machine], [0, pid])
    return [*code, (_RETURN, 0, 0, _ALLOW)]


def _refuse(number: int = errno.EPERM) -> Instruction:
    return (_RETURN, 0, 0, _ERRNO | number)


def _refused(table: Table, machine: int, number: int = errno.EPERM) -> list[Instruction]:
    numbers = [each[machine] for each in table.values()]
    return [line for each in numbers if each is not None for line in ((_IF_EQUAL, 0, 1, each), _refuse(number))]


def _block(number: int, checks: list[Instruction]) -> list[Instruction]:
    """Return `checks` for one system call. They end it: no other rule is about the same call."""
    return [(_IF_EQUAL, 0, len(checks), number), *checks]


def _argument(index: int) -> Instruction:
    return (_LOAD, 0, 0, _ARGUMENTS + 8 * index)  # its lower half: both architectures are little-endian


def _unless(number: int, index: int, tests: list[Instruction]) -> list[Instruction]:
    """Refuse a call where one of `tests` on an argument holds; each jumps to the refusal, the last falls to allow."""
    return _block(number, [_argument(index), *tests, (_RETURN, 0, 0, _ALLOW), _refuse()])


def _stream_pairs(machine: int) -> list[Instruction]:
    """Allow pairs of Unix streams. A datagram socket of a pair could still be used to write to other addresses."""
    checks = [
        _argument(0),
        (_IF_EQUAL, 0, 3, _AF_UNIX),
        _argument(1),
        (_AND, 0, 0, _SOCK_TYPE_MASK),
        (_IF_EQUAL, 1, 0, _SOCK_STREAM),
        _refuse(),
        (_RETURN, 0, 0, _ALLOW),
    ]
    return _block(SOCKETPAIR[machine], checks)


def _for_itself(number: int | None, processes: list[int]) -> list[Instruction]:
    """Allow a call whose first argument is one of `processes`."""
    if number is None:
        return []
    tests = [(_IF_EQUAL, len(processes) - place, 0, pid) for place, pid in enumerate(processes)]
    return _block(number, [_argument(0), *tests, _refuse(), (_RETURN, 0, 0, _ALLOW)])
