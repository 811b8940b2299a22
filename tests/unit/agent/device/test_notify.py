"""What a service manager hears, on a real socket. Agent and controller have the same small module: both are tried."""

import os
import socket
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

import agent.device.notify
import controller.notify

Listener = tuple[str, socket.socket]
BOTH = pytest.mark.parametrize(
    "make", [agent.device.notify.Notifier, controller.notify.Notifier], ids=["agent", "controller"]
)
Make = Callable[[Mapping[str, str]], Any]


@pytest.fixture(params=["file", "abstract"])
def listener(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Listener]:
    shown = f"@thresher-test-{os.getpid()}" if request.param == "abstract" else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(shown.replace("@", "\0", 1))
        heard.settimeout(10)
        yield shown, heard


@BOTH
def test_everything_is_told(make: Make, listener: Listener) -> None:
    address, heard = listener
    notifier = make({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "60000000", "WATCHDOG_PID": str(os.getpid())})
    notifier.ready()
    notifier.status("serving main\nand more")
    notifier.alive()
    notifier.stopping()
    said = [heard.recv(1000) for _ in range(4)]
    assert said == [b"READY=1", b"STATUS=serving main", b"WATCHDOG=1", b"STOPPING=1"]
    assert notifier.interval_s == 30.0


@BOTH
@pytest.mark.parametrize("usec", ["0", "", "soon"])
def test_without_a_watchdog_no_life_is_shown(make: Make, listener: Listener, usec: str) -> None:
    address, heard = listener
    notifier = make({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": usec})
    notifier.alive()
    notifier.ready()
    assert heard.recv(1000) == b"READY=1"
    assert notifier.interval_s is None


@BOTH
def test_a_watchdog_for_another_process_is_none_of_ours(make: Make) -> None:
    assert make({"NOTIFY_SOCKET": "x", "WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"}).interval_s is None


@BOTH
def test_with_nobody_to_tell_nothing_happens(make: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    notifier = make({"WATCHDOG_USEC": "1000000"})
    notifier.ready()
    notifier.alive()
    assert notifier.interval_s is None
    assert caplog.text == ""
    make({"NOTIFY_SOCKET": str(tmp_path / "nobody")}).ready()
    assert "could not be told READY" in caplog.text
