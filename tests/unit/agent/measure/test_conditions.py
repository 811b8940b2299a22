"""Readings from recorded folders, and null where a device has none."""

from pathlib import Path

from agent.measure import conditions


def record(root: Path, files: dict[str, str]) -> Path:
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return root


def test_a_throttled_pi(tmp_path: Path) -> None:
    root = record(
        tmp_path,
        {
            "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "ondemand\n",
            "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "600000\n",
            "sys/devices/system/cpu/cpu0/cpufreq/scaling_max_freq": "1800000\n",
            "sys/class/thermal/thermal_zone0/temp": "81234\n",
            "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
            "sys/devices/platform/soc/soc:firmware/get_throttled": "50005\n",
            "proc/pressure/cpu": "some avg10=7.67 avg60=7.12 avg300=6.98 total=38805824\n",
            "proc/loadavg": "1.25 1.00 0.50 1/200 4711\n",
            "proc/stat": "cpu  1 2 3 4 5 6 7 88 9 10\ncpu0 1 2 3 4 5 6 7 8 9 10\n",
        },
    )
    assert conditions.snapshot(root) == {
        "governor": "ondemand",
        "frequency_khz": 600000,
        "frequency_max_khz": 1800000,
        "temperatures_celsius": {"thermal_zone0:cpu-thermal": 81.234},
        "throttled_bits": 0x50005,
        "psi_cpu_some_avg10": 7.67,
        "psi_memory_some_avg10": None,
        "load_1m": 1.25,
        "steal_ticks": 88,
    }


def test_a_device_without_any_reading(tmp_path: Path) -> None:
    assert set(conditions.snapshot(tmp_path).values()) == {None}
    assert conditions.interference(tmp_path) == {"run_delay_ns": None, "involuntary_switches": None}
    assert conditions.cpu_model(tmp_path) is None


def test_garbage_is_null(tmp_path: Path) -> None:
    root = record(tmp_path, {"proc/pressure/cpu": "nothing\n", "proc/loadavg": "\n", "proc/stat": "cpu 1\n"})
    assert set(conditions.snapshot(root).values()) == {None}


def test_losses_are_summed_over_threads(tmp_path: Path) -> None:
    root = record(
        tmp_path,
        {
            "proc/self/task/1/schedstat": "100 7 3\n",
            "proc/self/task/2/schedstat": "100 5 3\n",
            "proc/self/task/1/status": "Name:\tx\nnonvoluntary_ctxt_switches:\t3\n",
            "proc/self/task/2/status": "Name:\tx\nnonvoluntary_ctxt_switches:\t4\n",
        },
    )
    assert conditions.interference(root) == {"run_delay_ns": 12, "involuntary_switches": 7}


def test_the_board_names_itself_where_the_processor_does_not(tmp_path: Path) -> None:
    root = record(tmp_path, {"proc/cpuinfo": "processor\t: 0\n", "proc/device-tree/model": "Raspberry Pi 5 Model B\0"})
    assert conditions.cpu_model(root) == "Raspberry Pi 5 Model B"


def test_this_host_has_its_fixed_conditions() -> None:
    fixed = conditions.fixed_conditions()
    assert fixed["affinity"]
    assert fixed["kernel"]
