"""A Raspberry Pi's firmware: the order of its sources, and the mailbox's messages."""

import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.measure.conditions import firmware
from tests.unit.agent.measure.recorded import device, record

Answer = Callable[[bytearray], None]


def mailbox_device(root: Path) -> Path:
    """Put a character device where the mailbox is; what it answers is the `ioctl` of each test."""
    (root / "dev").mkdir(parents=True)
    (root / "dev/vcio").symlink_to("/dev/null")
    return root


def answering(words: bytes, code: int = 0x8000_0000, length: int | None = None) -> firmware.Ioctl:
    def ioctl(descriptor: int, request: int, buffer: bytearray) -> int:
        assert descriptor >= 0
        assert request == 0xC000_6400 | struct.calcsize("P") << 16
        assert struct.unpack_from("<I", buffer)[0] == len(buffer)
        struct.pack_into("<I", buffer, 4, code)
        struct.pack_into("<I", buffer, 16, 0x8000_0000 | len(words) if length is None else length)
        buffer[20 : 20 + len(words)] = words
        return 0

    return ioctl


def test_a_request_is_what_the_firmware_expects() -> None:
    asked = firmware.question(firmware.GET_CLOCK_MEASURED, struct.pack("<2I", firmware.ARM_CLOCK, 0))
    assert struct.unpack("<8I", asked) == (32, 0, 0x00030047, 8, 0, 3, 0, 0)


def test_an_answer_is_read(tmp_path: Path) -> None:
    root = mailbox_device(tmp_path)
    answer = firmware.mailbox(root, firmware.GET_THROTTLED, bytes(4), answering(struct.pack("<I", 0x50005)))
    assert answer == struct.pack("<I", 0x50005)


@pytest.mark.parametrize(("code", "length"), [(0x8000_0001, None), (0, None), (0x8000_0000, 0)])
def test_a_refusal_and_an_unknown_tag_are_null(tmp_path: Path, code: int, length: int | None) -> None:
    root = mailbox_device(tmp_path)
    assert firmware.mailbox(root, firmware.GET_THROTTLED, bytes(4), answering(bytes(4), code, length)) is None


def test_a_device_that_is_no_mailbox_is_null(tmp_path: Path) -> None:
    root = mailbox_device(tmp_path)  # /dev/null refuses the request
    assert firmware.throttled(root) == (None, None)
    assert firmware.arm_hz(root) is None
    assert firmware.gencmd(root, "pmic_read_adc") is None


def test_a_plain_file_is_not_asked(tmp_path: Path) -> None:
    assert firmware.throttled(record(tmp_path, {"dev/vcio": ""})) == (None, None)


def test_with_the_mailbox_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {
        firmware.GET_THROTTLED: struct.pack("<I", 0xE0008),
        firmware.GET_CLOCK_MEASURED: struct.pack("<2I", 3, 600_000_000),
        firmware.GET_GENCMD_RESULT: struct.pack("<I", 0) + b"throttled=0xe0008\0".ljust(1020, b"\0"),
    }
    monkeypatch.setattr(firmware, "mailbox", lambda _root, tag, _value: answers[tag])
    assert firmware.throttled(tmp_path) == (0xE0008, "mailbox")
    assert firmware.arm_hz(tmp_path) == 600_000_000
    assert firmware.gencmd(tmp_path, "get_throttled") == "throttled=0xe0008"


def test_a_command_that_the_firmware_does_not_know_is_null(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(firmware, "mailbox", lambda *_: struct.pack("<I", 1) + b"unknown".ljust(1020, b"\0"))
    assert firmware.gencmd(tmp_path, "pmic_read_adc") is None


def test_the_file_in_sysfs_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(firmware, "mailbox", lambda *_: pytest.fail("the mailbox was asked"))
    assert firmware.throttled(device("raspberry_pi_4", tmp_path)) == (0x50005, "sysfs")


@pytest.mark.parametrize("alarm", [0, 1])
def test_the_voltage_monitor_comes_last(tmp_path: Path, alarm: int) -> None:
    files = {"sys/class/hwmon/hwmon2/name": "rpi_volt", "sys/class/hwmon/hwmon2/in0_lcrit_alarm": str(alarm)}
    assert firmware.throttled(record(tmp_path, files)) == (alarm, "hwmon")
