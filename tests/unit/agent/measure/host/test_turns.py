"""The host's turn, and its rest: waited for at most so long, then told."""

import fcntl
import threading
import time
from pathlib import Path

import pytest

from agent.measure.conditions import IdleTemperature
from agent.measure.host import turns
from agent.measure.host.turns import host_lock, wait_until_at_rest
from agent.measure.process import Canceled


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "POLL_S", 0.01)


def busy(root: Path, percent: float, celsius: float = 40.0) -> Path:
    files = {
        "proc/pressure/cpu": f"some avg10={percent:.2f} avg60=0.00 avg300=0.00 total=1\n",
        "proc/loadavg": "0.10 0.10 0.10 1/200 4711\n",
        "sys/class/thermal/thermal_zone0/temp": f"{celsius * 1000:.0f}\n",
        "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
    }
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return root


def test_a_host_at_rest_is_not_waited_for(tmp_path: Path) -> None:
    _, reasons = wait_until_at_rest(60.0, threading.Event(), root=busy(tmp_path, 0.5))
    assert reasons == ()


def test_a_busy_host_is_waited_for_and_then_told(tmp_path: Path) -> None:
    waited_s, reasons = wait_until_at_rest(0.1, threading.Event(), root=busy(tmp_path, 30.0))
    assert reasons == ("busy_host",)
    assert waited_s >= 0.1


def test_measuring_begins_once_the_host_has_come_to_rest(tmp_path: Path) -> None:
    timer = threading.Timer(0.2, busy, (tmp_path, 0.5))
    busy(tmp_path, 30.0)
    timer.start()
    _, reasons = wait_until_at_rest(60.0, threading.Event(), root=tmp_path)
    timer.join()
    assert reasons == ()


def test_a_hot_device_is_one_above_its_rest(tmp_path: Path) -> None:
    idle = IdleTemperature()
    for hour in range(5):
        idle.note({"temperatures_celsius": {"thermal_zone0:cpu-thermal": 40.0}, "load_1m": 0.0}, 1e9 + 3600.0 * hour)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "time", lambda: 1e9 + 5 * 3600.0)
        _, reasons = wait_until_at_rest(0.05, threading.Event(), idle, busy(tmp_path, 0.0, celsius=46.0))
    assert reasons == ("hot",)


def test_cancelling_ends_the_wait(tmp_path: Path) -> None:
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(Canceled):
        wait_until_at_rest(60.0, cancel, root=busy(tmp_path, 30.0))


def test_agents_of_a_host_take_turns(tmp_path: Path) -> None:
    path, cancel = tmp_path / "lock", threading.Event()
    with path.open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        timer = threading.Timer(0.3, cancel.set)
        timer.start()
        with pytest.raises(Canceled), host_lock(path, cancel):
            pytest.fail("the lock was held by another agent")
        timer.join()
    with host_lock(path, threading.Event()), path.open("w") as other, pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
