"""The filter's program, run by a small interpreter of classic BPF: both architectures, without their processors."""

import errno
import struct

import pytest

from agent.device.sandbox import seccomp
from agent.device.sandbox.syscalls import (
    AARCH64,
    CLONE,
    IOCTL,
    PRLIMIT64,
    SIGNALS,
    SOCKETPAIR,
    SURFACE,
    UNKNOWN,
    WORKER,
    X86_64,
)

PID = 4711
ALLOWED = 0
MACHINES = pytest.mark.parametrize("machine", [X86_64, AARCH64], ids=["x86_64", "aarch64"])
ARCHITECTURES = (0xC000003E, 0xC00000B7)


def answer(machine: int, number: int, *arguments: int, network: bool = False, architecture: int | None = None) -> int:
    """Return the error number that a system call gets; 0: it is made."""
    padded = [each % 2**64 for each in (*arguments, 0, 0, 0, 0, 0, 0)[:6]]
    data = struct.pack("<iIQ6Q", number, architecture or ARCHITECTURES[machine], 0, *padded)
    code, place, accumulator = seccomp.program(machine, network, PID), 0, 0
    while True:
        operation, if_true, if_false, constant = code[place]
        place += 1
        match operation:
            case 0x20:
                (accumulator,) = struct.unpack_from("<I", data, constant)
            case 0x54:
                accumulator &= constant
            case 0x15:
                place += if_true if accumulator == constant else if_false
            case 0x35:
                place += if_true if accumulator >= constant else if_false
            case 0x45:
                place += if_true if accumulator & constant else if_false
            case 0x06:
                return ALLOWED if constant == 0x7FFF0000 else constant & 0xFFFF
            case _:
                raise AssertionError(f"unknown operation {operation:#x}")


@MACHINES
def test_what_is_on_the_lists_is_refused_and_all_else_is_made(machine: int) -> None:
    worker = {each[machine] for table in (SURFACE, WORKER) for each in table.values()} - {None}
    unknown = {each[machine] for each in UNKNOWN.values()} - {None}
    special = {SOCKETPAIR[machine], CLONE[machine], IOCTL[machine], *(each[machine] for each in SIGNALS.values())}
    for number in set(range(500)) - special:
        wanted = errno.EPERM if number in worker else errno.ENOSYS if number in unknown else ALLOWED
        assert answer(machine, number) == wanted, number


@MACHINES
def test_the_gateway_is_kept_from_the_kernels_rarer_parts_only(machine: int) -> None:
    for name, numbers in WORKER.items():
        if (number := numbers[machine]) is not None:
            assert answer(machine, number, network=True) == ALLOWED, name
    assert answer(machine, SIGNALS["kill"][machine] or 0, 1, network=True) == ALLOWED
    for name, numbers in SURFACE.items():
        if (number := numbers[machine]) is not None:
            assert answer(machine, number, network=True) == errno.EPERM, name


@MACHINES
def test_arguments_decide_where_a_call_has_a_good_use(machine: int) -> None:
    pair, clone, ioctl = SOCKETPAIR[machine], CLONE[machine], IOCTL[machine]
    stream, datagram, cloexec = 1, 2, 0o2000000
    assert answer(machine, pair, 1, stream | cloexec) == ALLOWED
    assert answer(machine, pair, 1, datagram) == errno.EPERM
    assert answer(machine, pair, 2, stream) == errno.EPERM
    assert answer(machine, clone, 0x3D0F00) == ALLOWED  # a thread
    for namespace in (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000):
        assert answer(machine, clone, 0x11 | namespace) == errno.EPERM
    assert answer(machine, ioctl, 0, 0x5401) == ALLOWED
    assert [answer(machine, ioctl, 0, each) for each in (0x5412, 0x541C)] == [errno.EPERM] * 2


@MACHINES
def test_signals_and_limits_reach_the_worker_itself_only(machine: int) -> None:
    prlimit = PRLIMIT64[machine]
    for numbers in SIGNALS.values():
        number = numbers[machine] or 0
        assert answer(machine, number, PID) == ALLOWED
        assert [answer(machine, number, each) for each in (1, 0, -1, -PID)] == [errno.EPERM] * 4
    assert [answer(machine, prlimit, each) for each in (0, PID, 1)] == [ALLOWED, ALLOWED, errno.EPERM]


@MACHINES
def test_another_architectures_calls_are_refused(machine: int) -> None:
    i386, arm = 0x40000003, 0x40000028
    assert [answer(machine, 1, architecture=each) for each in (i386, arm)] == [errno.EPERM] * 2


def test_x32_calls_are_refused() -> None:
    assert answer(X86_64, 0x40000000 + 41) == errno.ENOSYS
    assert answer(X86_64, 0x40000000) == errno.ENOSYS


@MACHINES
def test_jumps_stay_within_their_reach(machine: int) -> None:
    for operation, if_true, if_false, _ in seccomp.program(machine, False, PID):
        assert operation in (0x06, 0x15, 0x20, 0x35, 0x45, 0x54)
        assert max(if_true, if_false) <= 255
