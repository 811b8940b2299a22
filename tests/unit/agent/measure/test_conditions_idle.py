"""The temperature at rest is learnt from quiet moments."""

import json
from pathlib import Path
from typing import Any

import pytest

from agent.measure.conditions import IdleTemperature

HOUR_S = 3600.0
DAY_S = 24 * HOUR_S


def moment(celsius: float | None, pressure: float | None = 0.0, load: float | None = 0.1) -> dict[str, Any]:
    temperatures = None if celsius is None else {"thermal_zone0:cpu-thermal": celsius}
    return {"temperatures_celsius": temperatures, "psi_cpu_some_avg10": pressure, "load_1m": load}


def test_the_median_of_quiet_moments() -> None:
    idle = IdleTemperature()
    for hour, celsius in enumerate([20.0, 45.0, 46.0, 47.0, 70.0]):  # a cold start and a hot end do not decide
        idle.note(moment(celsius), hour * HOUR_S)
    assert idle.celsius(4 * HOUR_S) == 46.0


def test_too_few_quiet_moments_tell_nothing() -> None:
    idle = IdleTemperature()
    for hour in range(2):
        idle.note(moment(40.0), hour * HOUR_S)
    assert idle.celsius(HOUR_S) is None


@pytest.mark.parametrize(
    "busy", [moment(70.0, pressure=2.0), moment(70.0, load=1e6), moment(70.0, load=None), moment(None), moment(500.0)]
)
def test_busy_moments_do_not_count(busy: dict[str, Any]) -> None:
    idle = IdleTemperature()
    for hour in range(3):
        idle.note(moment(40.0), hour * HOUR_S)
        idle.note(busy, hour * HOUR_S + 1800)
    assert idle.celsius(3 * HOUR_S) == 40.0


def test_a_kernel_without_psi_is_quiet_by_its_load() -> None:
    idle = IdleTemperature()
    for hour in range(3):
        idle.note(moment(40.0, pressure=None), hour * HOUR_S)
    assert idle.celsius(2 * HOUR_S) == 40.0


def test_one_reading_in_ten_minutes_is_kept() -> None:
    idle = IdleTemperature()
    for second in range(600):
        idle.note(moment(40.0), float(second))
    assert idle.celsius(600.0) is None


def test_yesterday_is_forgotten_and_so_is_a_clock_that_ran_ahead() -> None:
    idle = IdleTemperature()
    for hour in range(3):
        idle.note(moment(40.0), DAY_S * 10 + hour * HOUR_S)
    assert idle.celsius(DAY_S * 10 + 2 * HOUR_S) == 40.0
    assert idle.celsius(DAY_S * 12) is None
    for hour in range(3):
        idle.note(moment(30.0), hour * HOUR_S)
    assert idle.celsius(2 * HOUR_S) == 30.0


def test_a_restarted_agent_still_knows(tmp_path: Path) -> None:
    idle = IdleTemperature(tmp_path / "idle.json")
    for hour in range(3):
        idle.note(moment(40.0 + hour), hour * HOUR_S)
    assert IdleTemperature(tmp_path / "idle.json").celsius(2 * HOUR_S) == 41.0


NO_READINGS = "[[1, true], [2, NaN], [3, 40], [4, 40]]"


@pytest.mark.parametrize("kept", ["", "[", "{}", "[1, 2]", '[["a", 2], [1]]', NO_READINGS])
def test_a_damaged_file_is_forgotten(tmp_path: Path, kept: str) -> None:
    (tmp_path / "idle.json").write_text(kept)
    assert IdleTemperature(tmp_path / "idle.json").celsius(5.0) is None


def test_a_disk_that_refuses_is_no_fault(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    idle = IdleTemperature(tmp_path / "file/idle.json")
    for hour in range(3):
        idle.note(moment(40.0), hour * HOUR_S)
    assert idle.celsius(2 * HOUR_S) == 40.0


def test_little_is_written(tmp_path: Path) -> None:
    idle = IdleTemperature(tmp_path / "idle.json")
    for half_hour in range(60):
        idle.note(moment(45.678), half_hour * HOUR_S / 2)
    assert len(json.loads((tmp_path / "idle.json").read_bytes())) == 48  # those of a day


def test_who_only_reads_leaves_the_agents_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "idle.json"
    known = json.dumps([[hour * HOUR_S, 45.0] for hour in range(3)])
    path.write_text(known)
    idle = IdleTemperature(path, keeps=False)
    idle.note(moment(60.0), 5 * HOUR_S)
    assert idle.celsius(5 * HOUR_S) == 45.0
    assert path.read_text() == known
