"""What is read on devices that are not at hand, from the file systems in `fixtures/`."""

import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from agent.measure import conditions
from agent.measure.conditions import confines, heat, supply
from agent.measure.conditions.processor import boost
from tests.unit.agent.measure.recorded import device, record


def part(readings: Mapping[str, Any], expected: Mapping[str, Any]) -> dict[str, Any]:
    return {name: readings[name] for name in expected}


def test_a_throttled_raspberry_pi_4(tmp_path: Path) -> None:
    root = device("raspberry_pi_4", tmp_path)
    expected = {
        "governor": "ondemand",
        "frequency_khz": 1_800_000,  # what the kernel believes: the firmware has halved it
        "frequency_max_khz": 1_800_000,
        "temperatures_celsius": {"thermal_zone0:cpu-thermal": 81.234},
        "throttled_bits": 0x50005,
        "throttled_by": "sysfs",
        "psi_cpu_some_avg10": None,
        "load_1m": 1.25,
        "running": 2,
        "steal_ticks": 0,
        "swapped_pages": 46,
    }
    assert part(conditions.snapshot(root), expected) == expected
    fixed = conditions.fixed_conditions(root)
    assert fixed["policies"]["policy0"]["hardware_max_khz"] == 1_800_000
    assert fixed["swap_devices"] == ["/var/swap"]
    assert conditions.preflight(root) == ("throttled",)


def test_a_resting_raspberry_pi_5(tmp_path: Path) -> None:
    root = device("raspberry_pi_5", tmp_path)
    now = conditions.snapshot(root)
    assert (now["throttled_bits"], now["throttled_by"]) == (0, "sysfs")
    assert now["cooling"] == {"pwm-fan": [1, 4]}
    assert now["psi_io_full_avg10"] == 0.05
    assert conditions.trip_points_celsius(root) == {"thermal_zone0:cpu-thermal": {"critical": 110.0, "active": 50.0}}
    assert conditions.fixed_conditions(root)["swap_devices"] == ["/dev/zram0"]
    assert conditions.preflight(root, idle_celsius=45.0) == ()  # a fan is no throttle
    assert conditions.preflight(root, idle_celsius=42.0) == ("hot",)


def test_a_hot_jetson_in_a_low_power_mode(tmp_path: Path) -> None:
    root = device("jetson_orin_nano", tmp_path)
    now, fixed = conditions.snapshot(root), conditions.fixed_conditions(root)
    assert fixed["power_mode"] == "1 7W"
    assert set(fixed["policies"]) == {"policy0", "policy4"}
    assert now["devices_hz"] == {"17000000.gpu": 306_000_000}
    assert now["throttle_counts"] == {"overcurrent": 52}
    assert "thermal_zone2:cv0-thermal" not in now["temperatures_celsius"]
    assert heat.slowed_by(now["cooling"]) == ["cpu-throttle-alert"]
    assert conditions.preflight(root) == ("hot", "throttled")


def test_a_laptop_on_its_battery(tmp_path: Path) -> None:
    root = device("laptop_x86", tmp_path)
    now, fixed = conditions.snapshot(root), conditions.fixed_conditions(root)
    assert now["frequencies_khz"] == [2_900_000, 800_000, 810_000]  # cpu0, cpu2, cpu10
    assert now["throttle_counts"] == {"core": 10, "package": 9}
    assert now["throttle_time_ms"] == 130
    assert (now["quota_throttled_count"], now["quota_throttled_us"]) == (4, 123456)
    assert now["power_source"] == "battery"
    assert heat.slowed_by(now["cooling"]) == []
    assert heat.processor_celsius(now["temperatures_celsius"]) == 61.0  # not the 127 of a zone that measures nothing
    assert (fixed["smt"], fixed["boost"], fixed["power_mode"]) == (True, True, "balanced")
    assert (fixed["cpu_quota_cores"], fixed["huge_pages"], fixed["virtualisation"]) == (1.5, "madvise", "none")
    # Under intel_pstate, `powersave` is the usual governor.
    assert conditions.preflight(root) == ("busy_host", "swapping", "on_battery")


@pytest.mark.parametrize(
    ("changed", "source"),
    [
        ({"sys/class/power_supply/AC/online": "1"}, "mains"),
        ({"sys/class/power_supply/BAT0/status": "Full"}, "mains"),
        ({"sys/class/power_supply/BAT0/status": "Unknown"}, None),
        ({"sys/class/power_supply/BAT0/status": "", "sys/class/power_supply/AC/online": ""}, None),
    ],
)
def test_the_power_source(tmp_path: Path, changed: dict[str, str], source: str | None) -> None:
    assert supply.power_source(device("laptop_x86", tmp_path, changed)) == source


def test_boost_without_intels_driver(tmp_path: Path) -> None:
    assert boost(record(tmp_path, {"sys/devices/system/cpu/cpufreq/boost": "0"})) is False


@pytest.mark.parametrize(
    ("files", "kind", "host"),
    [
        ({".dockerenv": "", "proc/cpuinfo": "flags\t\t: fpu hypervisor sse"}, "docker", "unknown"),
        ({"proc/self/cgroup": "0::/kubepods/burstable/pod1", "sys/hypervisor/type": "xen"}, "kubepods", "xen"),
        (
            {"run/systemd/container": "lxc", "proc/device-tree/hypervisor/compatible": "linux,kvm\0kvm\0"},
            "lxc",
            "linux,kvm",
        ),
        (
            {"proc/cpuinfo": "flags\t\t: hypervisor", "sys/class/dmi/id/sys_vendor": "Amazon EC2"},
            None,
            "Amazon EC2",
        ),
    ],
)
def test_containers_and_hypervisors(tmp_path: Path, files: dict[str, str], kind: str | None, host: str) -> None:
    root = record(tmp_path, files)
    assert (confines.container(root), confines.virtualisation(root)) == (kind, host)


def test_quotas_of_version_1(tmp_path: Path) -> None:
    root = record(
        tmp_path,
        {
            "proc/self/cgroup": "4:memory:/x\n1:cpu,cpuacct:/outer/inner",
            "sys/fs/cgroup/cpu/outer/inner/cpu.cfs_quota_us": "-1",
            "sys/fs/cgroup/cpu/outer/inner/cpu.cfs_period_us": "100000",
            "sys/fs/cgroup/cpu/outer/inner/cpu.stat": "nr_periods 9\nnr_throttled 1\nthrottled_time 2000",
            "sys/fs/cgroup/cpu/outer/cpu.cfs_quota_us": "50000",
            "sys/fs/cgroup/cpu/outer/cpu.cfs_period_us": "100000",
            "sys/fs/cgroup/cpu/outer/cpu.stat": "nr_periods 9\nnr_throttled 5\nthrottled_time 7000000",
        },
    )
    assert confines.cpu_quota_cores(root) == 0.5
    assert confines.quota_throttled(root) == {"quota_throttled_count": 6, "quota_throttled_us": 7002}


def test_a_container_shows_the_hosts_name_of_its_group(tmp_path: Path) -> None:
    root = record(
        tmp_path,
        {
            "proc/self/cgroup": "0::/system.slice/docker-abc.scope",
            "sys/fs/cgroup/cgroup.controllers": "cpu",
            "sys/fs/cgroup/cpu.max": "20000 100000",
        },
    )
    assert confines.cpu_quota_cores(root) == 0.2


def test_jetson_stats_tells_the_mode_where_it_may_be_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Connection:
        nvpmodel = "MAXN"

        def __enter__(self) -> "Connection":
            return self

        def __exit__(self, *_: object) -> None: ...

        def ok(self) -> bool:
            return True

    module = ModuleType("jtop")
    module.jtop = Connection  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "jtop", module)
    root = record(tmp_path, {"run/jtop.sock": ""})
    assert supply.power_mode(root) is None
    assert supply.power_mode(root, asks_services=True) == "MAXN"
    monkeypatch.setitem(sys.modules, "jtop", None)  # not installed
    assert supply.power_mode(root, asks_services=True) is None


def test_a_mode_that_nvpmodels_file_does_not_name(tmp_path: Path) -> None:
    assert supply.power_mode(record(tmp_path, {"var/lib/nvpmodel/status": "pmode:0004"})) == "4"
