"""The device about itself, read from recorded trees: a Pi 5, an x86 server, a box that tells nothing."""

import errno
import os
import time
from pathlib import Path
from typing import Any

import pytest

from agent.config import AgentConfig
from agent.device.checkup import check_up
from agent.device.cpu import host_id, instruction_sets, soc_name
from agent.device.durable import write_durably
from agent.device.identity import BUILT_S, AlreadyRuns, Identity, StateLock, agent_runs, read_identity
from agent.device.vitals import memory_bytes, read_vitals, sensor_names
from agent.errors import ConfigurationError, DiskFull
from agent.inventory import find_engines, take_inventory

PI_CPUINFO = """processor\t: 0
BogoMIPS\t: 108.00
Features\t: fp asimd evtstrm aes fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp
Model\t\t: Raspberry Pi 5 Model B Rev 1.0
"""
X86_CPUINFO = """processor\t: 0
model name\t: Intel(R)  Xeon(R) CPU @ 2.20GHz
flags\t\t: fpu sse4_2 avx avx2 fma f16c avx512f avx512_vnni avx_vnni
"""


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


@pytest.fixture
def pi(tmp_path: Path) -> Path:
    return tree(
        tmp_path,
        {
            "proc/cpuinfo": PI_CPUINFO,
            "proc/device-tree/model": "Raspberry Pi 5 Model B Rev 1.0\0",
            "proc/meminfo": "MemTotal:        8245888 kB\nMemFree: 1 kB\nMemAvailable:    7000000 kB\n",
            "proc/self/smaps_rollup": "Rss: 9 kB\nPss:      40960 kB\n",
            "proc/pressure/cpu": "some avg10=0.00",
            "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
            "sys/class/thermal/thermal_zone0/temp": "61250\n",
            "sys/class/thermal/thermal_zone1/type": "broken\n",
            "sys/class/thermal/thermal_zone1/temp": "-273150\n",
            "sys/devices/platform/soc/soc:firmware/get_throttled": "50005\n",
            "etc/machine-id": "0123456789abcdef\n",
        },
    )


def test_a_pi(pi: Path) -> None:
    assert soc_name(pi) == "Raspberry Pi 5 Model B Rev 1.0"
    assert instruction_sets(pi) == ("asimd", "fphp", "asimdhp", "asimddp")
    assert memory_bytes(pi) == 8245888 * 1024
    vitals = read_vitals(pi)
    assert vitals.temperature_celsius == 61.25
    assert vitals.throttled is True
    assert vitals.agent_pss_bytes == 40960 * 1024
    assert vitals.memory_available_bytes == 7000000 * 1024
    assert sensor_names(pi) == ("temperature:cpu-thermal", "temperature:broken", "throttled", "pressure:cpu")


def test_sticky_throttle_bits_are_not_now(pi: Path) -> None:
    (pi / "sys/devices/platform/soc/soc:firmware/get_throttled").write_text("50000\n")
    assert read_vitals(pi).throttled is False


@pytest.mark.parametrize("word", ["", "no number"])
def test_a_throttle_word_that_cannot_be_read_is_null(pi: Path, word: str) -> None:
    (pi / "sys/devices/platform/soc/soc:firmware/get_throttled").write_text(word)
    assert read_vitals(pi).throttled is None


def test_a_server(tmp_path: Path) -> None:
    root = tree(tmp_path, {"proc/cpuinfo": X86_CPUINFO})
    assert soc_name(root) == "Intel(R) Xeon(R) CPU @ 2.20GHz"
    assert instruction_sets(root) == ("sse4_2", "avx", "avx2", "fma", "f16c", "avx512f", "avx512_vnni", "avx_vnni")


def test_what_a_device_does_not_tell_is_null(tmp_path: Path) -> None:
    assert (soc_name(tmp_path), instruction_sets(tmp_path), memory_bytes(tmp_path)) == ("unknown", (), 0)
    vitals = read_vitals(tmp_path)
    assert (vitals.temperature_celsius, vitals.throttled, vitals.agent_pss_bytes) == (None, None, None)
    assert sensor_names(tmp_path) == ()


def test_the_host_id_is_shared_and_does_not_tell_the_machine_id(pi: Path) -> None:
    assert host_id(pi) == host_id(pi, "another name")
    assert "0123456789abcdef" not in host_id(pi)
    (pi / "etc/machine-id").unlink()
    assert host_id(pi, "a") != host_id(pi, "b")


@pytest.mark.parametrize(
    ("installed", "allowed", "found"),
    [
        ({"onnxruntime": "1.32.0"}, None, ["onnxruntime"]),
        ({"onnxruntime-gpu": "1.32.0"}, None, ["onnxruntime"]),
        ({"onnxruntime": "1", "ai-edge-litert": "2"}, ("litert",), ["litert"]),
        ({"onnxruntime": "1"}, (), []),
        ({}, None, []),
    ],
)
def test_engines_are_found_by_their_packages(
    installed: dict[str, str], allowed: tuple[str, ...] | None, found: list[str]
) -> None:
    assert [engine.name for engine in find_engines(allowed, installed.get)] == found


def config(tmp_path: Path, **changes: Any) -> AgentConfig:
    fields = {"fleet": "farm", "device": "d", "trusted_keys": {"k": "A"}, "state_dir": tmp_path / "state", **changes}
    return AgentConfig.model_validate(fields)


def test_the_inventory_says_what_was_configured(tmp_path: Path) -> None:
    asked = config(tmp_path, threads=2, labels={"board": "a"}, emulated=True, memory_cap_bytes=2**28)
    inventory = take_inventory(asked, "cgroup", 123, ("main",))
    assert (inventory.threads, inventory.labels, inventory.emulated) == (2, {"board": "a"}, True)
    assert (inventory.memory_cap_bytes, inventory.memory_cap_by) == (2**28, "cgroup")
    assert (inventory.disk_free_bytes, inventory.workloads) == (123, ("main",))
    assert len(inventory.host_id) == 32


# --- identity ----------------------------------------------------------------------------------------------------


def test_every_boot_is_another_one_and_numbers_rise(tmp_path: Path) -> None:
    first, second = Identity(tmp_path), Identity(tmp_path)
    assert (first.boots, second.boots) == (1, 2)
    assert first.boot_id != second.boot_id
    assert [second.next_seq() for _ in range(3)] == [0, 1, 2]


def test_trusted_time_never_goes_back(tmp_path: Path) -> None:
    broken_clock = Identity(tmp_path, lambda: 5.0)
    assert broken_clock.now_s() == BUILT_S
    broken_clock.saw_signed(BUILT_S + 1000)
    broken_clock.saw_signed(BUILT_S + 10)
    assert broken_clock.now_s() == BUILT_S + 1000
    assert Identity(tmp_path, lambda: 5.0).now_s() == BUILT_S + 1000
    assert Identity(tmp_path, lambda: BUILT_S + 2000).now_s() == BUILT_S + 2000


def test_a_torn_identity_begins_again(tmp_path: Path) -> None:
    (tmp_path / "identity.json").write_text("{")
    assert read_identity(tmp_path) == {}
    assert Identity(tmp_path).boots == 1


def test_one_agent_per_state_folder(tmp_path: Path) -> None:
    assert not agent_runs(tmp_path)
    lock = StateLock(tmp_path)
    assert agent_runs(tmp_path)
    with pytest.raises(AlreadyRuns, match="state_dir of its own") as caught:
        StateLock(tmp_path)
    assert caught.value.exit_code == 9
    lock.release()
    assert not agent_runs(tmp_path)
    StateLock(tmp_path).release()


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "state.json"
    write_durably(path, b"old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DiskFull, match=r"state\.json"):
        write_durably(path, b"new")
    assert path.read_bytes() == b"old"


def test_other_disk_errors_keep_their_name(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="file"):
        write_durably(tmp_path / "file" / "below", b"x")


# --- doctor ------------------------------------------------------------------------------------------------------


def test_the_doctor_names_what_is_missing_and_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 5.0)
    asked = config(tmp_path, engines_allowed=(), broker={"port": 1}, cache_dir=tmp_path / "cold")
    findings = {finding.name: finding for finding in check_up(asked, tmp_path)}
    assert findings["engines"].verdict == "missing"
    assert findings["pressure (PSI)"].verdict == "warning"
    assert findings["clock"].verdict == "warning"
    assert findings["broker"].verdict == "warning"
    assert findings["kernel cache"].verdict == "warning"
    assert "agent warm" in findings["kernel cache"].remedy
    assert all(finding.remedy for finding in findings.values() if finding.verdict != "ok")


def test_without_a_configuration_the_doctor_looks_at_the_host_alone() -> None:
    names = {finding.name for finding in check_up(None)}
    assert {"python", "64 bit", "engines", "kernels", "memory cap", "clock"} <= names
    assert "broker" not in names


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to make a folder another user's")
def test_a_state_folder_of_another_user_is_refused(tmp_path: Path) -> None:
    os.chown(tmp_path, 65534, 65534)
    with pytest.raises(ConfigurationError, match=r"belongs to .*run the agent as that user"):
        StateLock(tmp_path)
    assert list(tmp_path.iterdir()) == []
