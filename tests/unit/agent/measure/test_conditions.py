"""Readings of this host, and null where a device has none."""

import contextlib
import tempfile
from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st

from agent.measure import conditions
from agent.measure.conditions.fixed import _code_sha256
from agent.measure.conditions.processor import board_model
from agent.measure.energy import find_meter
from tests.unit.agent.measure.recorded import FIXTURES, device, record

DEVICES = sorted(path.stem for path in FIXTURES.glob("*.yaml"))


def test_a_device_without_any_reading(tmp_path: Path) -> None:
    assert set(conditions.snapshot(tmp_path).values()) == {None}
    assert set(conditions.interference(tmp_path).values()) == {None}
    assert conditions.cpu_model(tmp_path) is None
    assert conditions.preflight(tmp_path, idle_celsius=40.0) == ()


def test_what_is_not_read_from_files_is_known_without_any(tmp_path: Path) -> None:
    known = {name for name, reading in conditions.fixed_conditions(tmp_path).items() if reading is not None}
    assert known == {"machine", "cores", "affinity", "kernel", "python", "agent_sha256", "page_bytes"}


def test_garbage_is_null(tmp_path: Path) -> None:
    root = record(
        tmp_path,
        {
            "proc/pressure/cpu": "some nothing",
            "proc/loadavg": "x",
            "proc/stat": "cpu 1 2",
            "proc/vmstat": "pswpin many",
            "proc/meminfo": "MemTotal:\n:",
            "proc/self/cgroup": "nonsense",
            "proc/self/task/1/schedstat": "x",
            "proc/self/task/1/status": "nonvoluntary_ctxt_switches:",
            "sys/class/thermal/thermal_zone0/temp": "hot",
            "sys/class/thermal/cooling_device0/cur_state": "full",
            "sys/devices/platform/soc/soc:firmware/get_throttled": "zzz",
            "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "<unknown>",
            "sys/class/power_supply/BAT0/status": "?",
            "sys/fs/cgroup/cgroup.controllers": "cpu",
            "sys/fs/cgroup/cpu.max": "some thing",
            "var/lib/nvpmodel/status": "pmode:?",
        },
    )
    assert set(conditions.snapshot(root).values()) == {None}
    assert set(conditions.interference(root).values()) == {None}
    assert conditions.fixed_conditions(root)["power_mode"] is None
    assert conditions.fixed_conditions(root)["cpu_quota_cores"] is None


@settings(max_examples=12, deadline=None)
@given(name=st.sampled_from(DEVICES), content=st.binary(max_size=60))
@example(name="laptop_x86", content=b"9" * 60)
@example(name="laptop_x86", content="some \u00b2 avg10=\u00b2".encode())
@example(name="jetson_orin_nano", content=b"-1")
@example(name="raspberry_pi_4", content=b"nan")
def test_no_reading_raises_whatever_the_files_say(name: str, content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = device(name, Path(folder))
        for path in root.rglob("*"):
            if path.is_file() and path.name != "name":
                path.write_bytes(content)
        idle = conditions.IdleTemperature()
        idle.note(conditions.snapshot(root), 0.0)
        conditions.fixed_conditions(root)
        conditions.interference(root)
        conditions.preflight(root, 40.0, conditions.snapshot(root))
        with contextlib.ExitStack() as opened:
            meter = find_meter(root)
            span = None if meter is None else opened.enter_context(meter.span())
        assert span is None or span.joules is None or span.joules >= 0


def test_a_folder_where_a_file_should_be_is_null(tmp_path: Path) -> None:
    (tmp_path / "proc/loadavg").mkdir(parents=True)
    assert conditions.snapshot(tmp_path)["load_1m"] is None


def test_losses_are_summed_over_threads(tmp_path: Path) -> None:
    root = record(
        tmp_path,
        {
            "proc/self/task/1/schedstat": "100 7 3",
            "proc/self/task/2/schedstat": "200 5 3",
            "proc/self/task/1/status": "Name:\tx\nnonvoluntary_ctxt_switches:\t3",
            "proc/self/task/2/status": "Name:\tx\nnonvoluntary_ctxt_switches:\t4",
        },
    )
    assert conditions.interference(root) == {"cpu_ns": 300, "run_delay_ns": 12, "involuntary_switches": 7}


def test_the_board_names_itself_where_the_processor_does_not(tmp_path: Path) -> None:
    root = record(tmp_path, {"proc/cpuinfo": "processor\t: 0", "proc/device-tree/model": "Raspberry Pi 5 Model B\0"})
    assert conditions.cpu_model(root) == board_model(root) == "Raspberry Pi 5 Model B"


def test_this_host_has_its_fixed_conditions() -> None:
    fixed = conditions.fixed_conditions()
    assert fixed["affinity"]
    assert fixed["kernel"]
    assert fixed["memory_bytes"] > 0


def test_this_host_counts() -> None:
    before = {**conditions.snapshot(), **conditions.interference()}
    total = sum(step * step for step in range(200_000))
    after = {**conditions.snapshot(), **conditions.interference()}
    assert total > 0
    assert after["cpu_ns"] > before["cpu_ns"]
    assert after["total_ticks"] >= before["total_ticks"] > 0


def test_the_agents_digest_is_that_of_its_code(tmp_path: Path) -> None:
    package = (
        record(tmp_path, {"agent/one.py": "a = 1", "agent/part/two.py": "b = 2", "agent/notes.txt": "x"}) / "agent"
    )
    first = _code_sha256([package])
    (package / "notes.txt").write_text("y")
    assert _code_sha256([package]) == first
    (package / "part/two.py").write_text("b = 3\n")
    assert _code_sha256([package]) != first
    assert conditions.agent_sha256() == conditions.agent_sha256() != first
