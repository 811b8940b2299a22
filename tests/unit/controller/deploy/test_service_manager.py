"""What the controller's daemon has with its service manager: the watchdog's pulse, and the broker's password."""

from pathlib import Path
from typing import Any

import pytest

from controller.config.fleet_file import BrokerAddress
from controller.deploy import fleet_files, serving
from controller.deploy.fleet_files import FoundFleet, broker_settings


class Noted:
    """A service manager that notes when life was shown."""

    def __init__(self, interval_s: float | None) -> None:
        self.interval_s = interval_s
        self.shown = 0

    def alive(self) -> None:
        self.shown += 1


def pulse(interval_s: float | None, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Noted, list[float]]:
    now_s = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now_s[0])
    noted = Noted(interval_s)
    return serving._Pulse(noted), noted, now_s  # type: ignore[arg-type]


def test_life_is_shown_as_long_as_the_engine_thread_moves_on(monkeypatch: pytest.MonkeyPatch) -> None:
    each, noted, now_s = pulse(60.0, monkeypatch)
    for turns in range(1, 100):
        each.felt(turns)
        now_s[0] += 1.0
    assert noted.shown == 4  # at once, and every half of the interval
    for _ in range(1000):
        each.felt(99)
        now_s[0] += 1.0
    assert noted.shown == 5  # the last turn was news once: then the thread is stuck, and nothing hides it


def test_without_a_watchdog_nothing_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    each, noted, _ = pulse(None, monkeypatch)
    each.felt(1)
    assert noted.shown == 0


def found(folder: Path, **address: Any) -> FoundFleet:
    class OnlyBroker:
        broker = BrokerAddress(**address)

    return FoundFleet(folder / "fleet.yaml", OnlyBroker())  # type: ignore[arg-type]


def test_the_units_credential_is_the_password_where_no_file_is_named(tmp_path: Path) -> None:
    credential = tmp_path / fleet_files.CREDENTIAL
    environment = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    assert broker_settings(found(tmp_path, username="boss"), environment).password_file is None
    credential.write_text("secret\n")
    assert broker_settings(found(tmp_path, username="boss"), environment).password_file == str(credential)
    assert broker_settings(found(tmp_path), environment).password_file is None  # nobody logs in
    named = found(tmp_path, username="boss", password_file="own")
    assert Path(broker_settings(named, environment).password_file or "").name == "own"
    assert broker_settings(found(tmp_path, username="boss"), {}).password_file is None
