"""Which sensor is found on which device, and what it reads."""

import sys
import tempfile
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.measure.conditions import firmware
from agent.measure.energy import jetson, sensors
from agent.measure.energy.sensors import Counter, Power, find_sensor, pmic_watts
from tests.unit.agent.measure.recorded import device, record

RAPL = "sys/class/powercap/intel-rapl:0"
INA = "sys/class/hwmon/hwmon1"

PMIC_ANSWER = """\
   3V7_WL_SW_A current(0)=0.10000000A
       VDD_CORE_A current(7)=2.00000000A
   3V7_WL_SW_V volt(8)=3.70000000V
       VDD_CORE_V volt(15)=0.80000000V
          EXT5V_V volt(24)=5.10000000V
"""


def test_a_jetsons_input_rail_stands_for_all_others(tmp_path: Path) -> None:
    sensor = find_sensor(device("jetson_orin_nano", tmp_path))
    assert isinstance(sensor, Power)
    assert (sensor.source, sensor.least_s) == ("ina:VDD_IN", 10.0)
    sensor.joules(0)
    assert sensor.joules(1_000_000_000) == pytest.approx(5.008 * 0.968)


def test_rails_are_added_where_none_feeds_the_others(tmp_path: Path) -> None:
    root = device("jetson_orin_nano", tmp_path, {f"{INA}/in1_label": "NC"})
    sensor = find_sensor(root)
    assert sensor is not None
    assert sensor.source == "ina:VDD_CPU_GPU_CV+VDD_SOC"
    sensor.joules(0)
    assert sensor.joules(500_000_000) == pytest.approx((5.0 * 0.280 + 5.0 * 0.304) / 2)


def test_a_channel_that_is_switched_off_is_left_out(tmp_path: Path) -> None:
    changed = {f"{INA}/in1_enable": "0", f"{INA}/in2_enable": "0"}
    sensor = find_sensor(device("jetson_orin_nano", tmp_path, changed))
    assert sensor is not None
    assert sensor.source == "ina:VDD_SOC"


def test_a_monitor_with_one_input(tmp_path: Path) -> None:
    files = {"sys/class/hwmon/hwmon3/name": "ina226", "sys/class/hwmon/hwmon3/power1_input": "6500000"}
    sensor = find_sensor(record(tmp_path, files))
    assert sensor is not None
    sensor.joules(0)
    assert (sensor.source, sensor.joules(1_000_000_000)) == ("ina:ina226", 6.5)


def test_packages_and_memory_are_counted_once(tmp_path: Path) -> None:
    root = device("laptop_x86", tmp_path)
    sensor = find_sensor(root)
    assert isinstance(sensor, Counter)
    assert sensor.source == "rapl:package+dram"
    (root / RAPL / "energy_uj").write_text("262143200000\n")
    (root / f"{RAPL}:2/energy_uj").write_text("6000000\n")
    assert sensor.joules(0) == pytest.approx(0.2 + 1.0)


def test_a_counter_that_starts_again_is_followed(tmp_path: Path) -> None:
    root = device("laptop_x86", tmp_path)
    sensor = find_sensor(root)
    assert sensor is not None
    (root / RAPL / "energy_uj").write_text("671150\n")
    assert sensor.joules(0) == pytest.approx(1.0)  # 0.32885 J to its range, 0.67115 J from zero
    (root / RAPL / "energy_uj").write_text("1671150\n")
    assert sensor.joules(1) == pytest.approx(2.0)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 999_999), min_size=1, max_size=20), st.integers(0, 999_999))
def test_rises_below_the_range_add_up_whatever_their_place(rises_uj: list[int], first_uj: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = record(Path(folder), {f"{RAPL}/name": "package-0", f"{RAPL}/max_energy_range_uj": "1000000"})
        shown = root / RAPL / "energy_uj"
        shown.write_text(str(first_uj))
        sensor = find_sensor(root)
        assert sensor is not None
        total_uj = 0
        for number, rise in enumerate(rises_uj):
            total_uj += rise
            shown.write_text(str((first_uj + total_uj) % 1_000_000))
            assert sensor.joules(number) == pytest.approx(total_uj / 1e6)


def test_a_counter_without_a_range_is_not_guessed(tmp_path: Path) -> None:
    root = device("laptop_x86", tmp_path, {f"{RAPL}/max_energy_range_uj": ""})
    sensor = find_sensor(root)
    assert sensor is not None
    (root / RAPL / "energy_uj").write_text("1\n")
    assert sensor.joules(0) is None


def test_a_counter_that_only_root_may_read_is_none(tmp_path: Path) -> None:
    gone = {
        f"{zone}/energy_uj": "" for zone in (RAPL, f"{RAPL}:0", f"{RAPL}:2", "sys/class/powercap/intel-rapl-mmio:0")
    }
    sensor = find_sensor(device("laptop_x86", tmp_path, gone))
    assert sensor is not None
    assert (sensor.source, sensor.least_s) == ("battery:BAT0", 60.0)
    sensor.joules(0)
    assert sensor.joules(500_000_000) == pytest.approx(4.56)


def test_a_battery_by_current_and_voltage(tmp_path: Path) -> None:
    battery = "sys/class/power_supply/BAT0"
    files = {"type": "Battery", "status": "Discharging", "voltage_now": "12000000", "current_now": "-500000"}
    root = record(tmp_path, {f"{battery}/{name}": text for name, text in files.items()})
    sensor = find_sensor(root)
    assert sensor is not None
    sensor.joules(0)
    assert sensor.joules(500_000_000) == pytest.approx(3.0)
    (root / battery / "status").write_text("Charging\n")
    assert sensor.joules(1_000_000_000) is None
    assert find_sensor(root) is None


@pytest.mark.parametrize("name", ["raspberry_pi_4", "raspberry_pi_5"])
def test_no_sensor_is_none(tmp_path: Path, name: str) -> None:
    assert find_sensor(device(name, tmp_path)) is None


def test_a_raspberry_pi_5s_rails() -> None:
    assert pmic_watts(PMIC_ANSWER) == pytest.approx(0.1 * 3.7 + 2.0 * 0.8)
    assert pmic_watts('error=1 error_msg="Command not registered"') is None
    assert pmic_watts(None) is None


def test_the_pmic_is_asked_by_the_mailbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = bytes(4) + PMIC_ANSWER.encode().ljust(firmware.GENCMD_BYTES - 4, b"\0")
    monkeypatch.setattr(
        firmware, "mailbox", lambda _root, tag, _: answer if tag == firmware.GET_GENCMD_RESULT else None
    )
    sensor = find_sensor(tmp_path)
    assert sensor is not None
    sensor.joules(0)
    assert sensor.source == "rpi_pmic:rails"
    assert sensor.joules(1_000_000_000) == pytest.approx(1.97)


def test_power_is_added_up_by_trapezoids() -> None:
    watts = iter([2.0, 4.0, 4.0])
    sensor = Power("test", lambda: next(watts))
    assert [sensor.joules(at) for at in (0, 500_000_000, 1_000_000_000)] == [0.0, 1.5, 3.5]


def test_a_gap_and_a_missing_reading_are_not_bridged() -> None:
    late = Power("test", lambda: 2.0)
    late.joules(0)
    assert late.joules(1_100_000_000) is None
    readings = iter([2.0, None])
    assert [Power("test", lambda: next(readings)).joules(at) for at in (0, 1)] == [0.0, None]


class Jetson(SimpleNamespace):
    """As much of a connection of jetson-stats as is used."""

    def start(self) -> None:
        self.started = True


def install_jtop(monkeypatch: pytest.MonkeyPatch, made: list[Jetson], **reading: object) -> None:
    module = ModuleType("jtop")

    def connect(interval: float) -> Jetson:
        made.append(Jetson(interval=interval, **reading))
        return made[-1]

    module.jtop = connect  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "jtop", module)
    jetson.jtop_watts.cache_clear()


def test_jetson_stats_where_its_service_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Jetson] = []
    install_jtop(monkeypatch, made, ok=lambda: True, power={"tot": {"power": 4850}})
    assert find_sensor(tmp_path) is None  # installed, and no service
    jetson.jtop_watts.cache_clear()
    root = record(tmp_path, {"run/jtop.sock": ""})
    sensor = find_sensor(root)
    assert sensor is not None
    sensor.joules(0)
    assert (sensor.source, sensor.joules(1_000_000_000)) == ("jtop:total", 4.85)
    find_sensor(root)
    assert len(made) == 1
    assert made[0].started


def test_jetson_stats_of_another_form_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_jtop(monkeypatch, [], ok=lambda: True, power={})
    assert find_sensor(record(tmp_path, {"run/jtop.sock": ""})) is None


def test_jetson_stats_that_is_not_installed_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jtop", None)
    jetson.jtop_watts.cache_clear()
    assert sensors.find_sensor(record(tmp_path, {"run/jtop.sock": ""})) is None
