"""What a Raspberry Pi's firmware knows and the kernel does not show: throttling, the true clock, the PMIC's rails.

Decides: the order of the sources. First the file in sysfs, where the kernel has it; then the property mailbox that
`vcgencmd` speaks with (`/dev/vcio`); then the voltage monitor, which knows under-voltage alone. Sysfs frequencies do
not show this throttling. Source: Raspberry Pi documentation, `vcgencmd get_throttled`, and the firmware wiki's page on
the mailbox property interface.
"""

import fcntl
import os
import stat
import struct
from collections.abc import Callable
from pathlib import Path

from agent.measure.conditions.read import ROOT, attempt, folders, hexadecimal, hwmon, number

LIVE_BITS = 0b1111
"""Under-voltage, frequency capped, throttled, soft temperature limit: what holds now."""

STICKY_SHIFT = 16
"""Bits 16 to 19: the same, at any time since their last reset. Reading the sysfs file (again after 150 ms, else it says
what it said) resets them; asking the mailbox does not."""

GET_CLOCK_MEASURED = 0x0003_0047
GET_THROTTLED = 0x0003_0046
GET_GENCMD_RESULT = 0x0003_0080
ARM_CLOCK = 3
GENCMD_BYTES = 1024

_ANSWERED = 0x8000_0000
_HEAD = struct.Struct("<5I")
_REQUEST_CODE = 0xC000_0000 | struct.calcsize("P") << 16 | 100 << 8
"""_IOWR(100, 0, char *): the size in the code is that of a pointer."""

Ioctl = Callable[[int, int, bytearray], int]


def throttled(root: Path = ROOT) -> tuple[int | None, str | None]:
    """Return the firmware's throttle bits and where they come from: `sysfs`, `mailbox`, `hwmon`; nulls elsewhere."""
    for folder in folders(root / "sys/devices/platform", "soc*"):
        for path in folders(folder, "*firmware*/get_throttled"):
            bits = hexadecimal(path)
            if bits is not None:
                return bits, "sysfs"
    answer = mailbox(root, GET_THROTTLED, struct.pack("<I", 0))
    if answer is not None:
        return int(struct.unpack_from("<I", answer)[0]), "mailbox"
    alarms = [number(chip / "in0_lcrit_alarm") for _, chip in hwmon(root, "rpi_volt")]
    known = [alarm for alarm in alarms if alarm is not None]
    return (int(any(known)), "hwmon") if known else (None, None)


def throttled_bits(root: Path = ROOT) -> int | None:
    """Return the firmware's throttle bits: 0 to 3 hold now, 16 to 19 held at some time; None where there are none."""
    return throttled(root)[0]


def arm_hz(root: Path = ROOT) -> int | None:
    """Return the cores' clock as the firmware measures it [Hz]; None elsewhere."""
    answer = mailbox(root, GET_CLOCK_MEASURED, struct.pack("<2I", ARM_CLOCK, 0))
    return int(struct.unpack_from("<2I", answer)[1]) or None if answer is not None else None


def gencmd(root: Path, command: str) -> str | None:
    """Return what the firmware answers to a command of `vcgencmd`."""
    # The value begins with a word for the error code; the text is in the same place in question and answer.
    answer = mailbox(root, GET_GENCMD_RESULT, (bytes(4) + command.encode()).ljust(GENCMD_BYTES, b"\0"))
    if answer is None or struct.unpack_from("<I", answer)[0] != 0:
        return None
    return answer[4:].split(b"\0", 1)[0].decode("utf-8", "replace") or None


def mailbox(root: Path, tag: int, value: bytes, ioctl: Ioctl = fcntl.ioctl) -> bytes | None:
    """Ask the firmware for one property; None where there is no such device, no permission, or no answer."""
    device = root / "dev/vcio"
    return attempt(lambda: _exchange(device, tag, value, ioctl))


def question(tag: int, value: bytes) -> bytearray:
    """Return a request for one property: size, code, tag, size of the value, its length; the value; the end tag."""
    padded = value + bytes(-len(value) % 4)
    head = _HEAD.pack(_HEAD.size + len(padded) + 4, 0, tag, len(padded), 0)
    return bytearray(head + padded + bytes(4))


def answered(buffer: bytes | bytearray) -> bytes | None:
    """Return the value in an answered request; None where the firmware refused it or does not know the tag."""
    _, code, _, room, length = _HEAD.unpack_from(buffer)
    if code != _ANSWERED or not length & _ANSWERED:
        return None
    return bytes(buffer[_HEAD.size : _HEAD.size + room])


def _exchange(device: Path, tag: int, value: bytes, ioctl: Ioctl) -> bytes | None:
    if not stat.S_ISCHR(device.stat().st_mode):
        return None
    opened = os.open(device, os.O_RDWR | os.O_CLOEXEC)
    try:
        buffer = question(tag, value)
        ioctl(opened, _REQUEST_CODE, buffer)
        return answered(buffer)
    finally:
        os.close(opened)
