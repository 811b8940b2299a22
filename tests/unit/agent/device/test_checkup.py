"""The doctor on trees recorded from boards: what it names as missing, and what it says to do."""

import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from agent.config import AgentConfig
from agent.device.checkup import check_up, kernel, network, served, serving, software, storage, vendor
from agent.device.checkup.finding import Finding
from agent.device.identity import BUILT_S
from agent.install.claim import Claimer, make_claim, read_claim
from tests.unit.agent.device.test_device import tree
from tests.unit.agent.install.test_device_claim import KEY, Line, answer, token

PI = {
    "proc/device-tree/model": "Raspberry Pi 4 Model B Rev 1.4\0",
    "boot/firmware/cmdline.txt": "root=/dev/mmcblk0p2\n",
}
OFF = "#subsys_name\thierarchy\tnum_cgroups\tenabled\ncpuset\t0\t60\t1\nmemory\t0\t60\t0\n"
JETSON = {
    "etc/nv_tegra_release": "# R36 (release), REVISION: 4.0, GCID: 37537400, BOARD: generic, EABI: aarch64\n",
    "usr/lib/aarch64-linux-gnu/libnvinfer.so.10": "",
    "usr/lib/aarch64-linux-gnu/libnvinfer.so.10.3.0": "",
    "usr/lib/aarch64-linux-gnu/libnvinfer.so.8.6.2": "",
}
IN_SYSTEM = {"usr/local/lib/python3.10/dist-packages/onnxruntime_gpu-1.20.0.dist-info/METADATA": ""}


def config(**changes: Any) -> AgentConfig:
    fields = {"fleet": "farm", "device": "d", "trusted_keys": {"k": "A"}, "state_dir": "/var/lib/thresher", **changes}
    return AgentConfig.model_validate(fields)


# --- the kernel ----------------------------------------------------------------------------------------------------


def test_a_pi_whose_memory_controller_is_off(tmp_path: Path) -> None:
    found = kernel.memory_cap(tree(tmp_path, {**PI, "proc/cgroups": OFF}))
    assert found.verdict == "warning"
    assert "add cgroup_enable=memory to the one line of /boot/firmware/cmdline.txt and reboot" in found.remedy


def test_an_older_pi_keeps_its_command_line_elsewhere(tmp_path: Path) -> None:
    files = {"proc/device-tree/model": "Raspberry Pi 3", "boot/cmdline.txt": "", "proc/cgroups": OFF}
    assert "/boot/cmdline.txt" in kernel.pressure(tree(tmp_path, files)).remedy
    assert "psi=1" in kernel.pressure(tmp_path).remedy


def test_another_board_is_told_the_option_alone(tmp_path: Path) -> None:
    found = kernel.memory_cap(tree(tmp_path, {"proc/cgroups": OFF}))
    assert found.remedy == "start the kernel with cgroup_enable=memory"


@pytest.mark.parametrize(
    ("files", "has_it"),
    [
        ({}, False),
        ({"proc/cgroups": OFF}, False),
        ({"proc/cgroups": OFF.replace("60\t0", "60\t1")}, True),
        ({"sys/fs/cgroup/cgroup.controllers": "cpuset cpu io pids\n", "proc/cgroups": OFF}, False),
        ({"sys/fs/cgroup/cgroup.controllers": "cpuset cpu io memory pids\n"}, True),
    ],
)
def test_either_generation_of_cgroups_may_control_memory(tmp_path: Path, files: dict[str, str], has_it: bool) -> None:
    assert kernel.has_memory_controller(tree(tmp_path, files)) is has_it


@pytest.mark.parametrize(
    ("now_s", "synchronised", "verdict", "said"),
    [
        (5.0, True, "warning", "before this release"),
        (BUILT_S + 1e6, False, "warning", "nothing keeps the clock right"),
        (BUILT_S + 1e6, True, "ok", ""),
    ],
)
def test_a_clock(monkeypatch: pytest.MonkeyPatch, now_s: float, synchronised: bool, verdict: str, said: str) -> None:
    monkeypatch.setattr(time, "time", lambda: now_s)
    found = kernel.clock(synchronised)
    assert found.verdict == verdict
    assert said in found.remedy


def test_the_kernel_is_asked_about_the_clock() -> None:
    assert kernel.is_synchronised() in (True, False, None)


@pytest.mark.parametrize(
    ("abilities", "verdict", "said"),
    [
        ({"network": "seccomp", "files": "landlock 7", "user": False}, "ok", ""),
        ({"network": "seccomp", "files": "none", "user": True}, "warning", "not kept from files"),
        ({"network": "none", "files": "none", "user": True}, "warning", "not kept from network and files"),
    ],
)
def test_the_sandbox(monkeypatch: pytest.MonkeyPatch, abilities: dict[str, Any], verdict: str, said: str) -> None:
    monkeypatch.setattr("agent.device.sandbox.confine.abilities", lambda: abilities)
    found = kernel.sandbox()
    assert found.verdict == verdict
    assert said in found.remedy


# --- software ------------------------------------------------------------------------------------------------------


def test_a_32_bit_system_is_refused_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(software, "is_32_bit", lambda: True)
    found = software.word_size()
    assert found.verdict == "missing"
    assert "32-bit processors" in found.remedy


@pytest.mark.parametrize(("version", "verdict"), [((3, 10, 9), "missing"), ((3, 13, 0), "ok"), ((3, 14, 0), "missing")])
def test_a_python(monkeypatch: pytest.MonkeyPatch, version: tuple[int, ...], verdict: str) -> None:
    monkeypatch.setattr(sys, "version_info", version)
    assert software.python().verdict == verdict


def test_without_a_linker_kernels_cost_more(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert software.linker().verdict == "warning"
    tree(tmp_path, {"ld": ""})
    (tmp_path / "ld").chmod(0o755)
    assert software.linker() == Finding("linker", "ok", "ld")


def test_kernels_without_their_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(software, "installed_version", {"numpy": "2.4"}.get)
    assert software.kernels() == Finding("kernels", "missing", "numba not installed", "pip install 'thresher[kernels]'")


# --- the disk ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mounts", "names"),
    [
        ("/dev/mmcblk0p2 / ext4 rw,relatime 0 0\n", ["disk", "card"]),
        ("/dev/mmcblk0p2 / ext4 rw,noatime 0 0\n", ["disk"]),
        ("/dev/mmcblk0p2 / ext4 rw,relatime 0 0\n/dev/sda1 /var ext4 rw,relatime 0 0\n", ["disk"]),
        ("/dev/mmcblk0p2 / ext4 ro,noatime 0 0\n", ["disk", "file system"]),
        ("overlay / overlay ro 0 0\n/dev/mmcblk0p3 /var/lib ext4 rw,noatime 0 0\n", ["disk"]),
        ("/dev/sda1 /var/lib/th ext4 ro 0 0\n", ["disk"]),
        ("", ["disk"]),
    ],
    ids=["card", "noatime", "usb-disk", "read-only", "overlay", "another-folder", "untold"],
)
def test_where_the_state_lies(tmp_path: Path, mounts: str, names: list[str]) -> None:
    found = storage.disk(config(), tree(tmp_path, {"proc/mounts": mounts}))
    assert [finding.name for finding in found] == names
    assert all(finding.remedy for finding in found if finding.verdict != "ok")


def test_a_read_only_disk_stops_the_agent(tmp_path: Path) -> None:
    tree(tmp_path, {"proc/mounts": "/dev/mmcblk0p2 / ext4 rw 0 0\n/dev/mmcblk0p2 / ext4 ro 0 0\n"})
    assert storage.disk(config(), tmp_path)[1].verdict == "missing"  # the one on top counts


# --- a vendor's engines ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "installed", "said"),
    [
        (JETSON, {"onnxruntime-gpu": "1.20.0"}, ("ok", "TensorRT 10.3.0, onnxruntime-gpu 1.20.0", "")),
        ({**JETSON, **IN_SYSTEM}, {}, ("warning", "1.20.0 in the system's Python", "--system-site-packages")),
        ({**JETSON, **IN_SYSTEM}, {"onnxruntime": "1.22"}, ("warning", "does not see", "remove onnxruntime from it")),
        (JETSON, {}, ("warning", "models run on the processor", "vendor's wheel")),
        ({"etc/nv_tegra_release": "?"}, {"onnxruntime-gpu": "1"}, ("ok", "TensorRT not found", "")),
    ],
    ids=["here", "in-system", "hidden", "none", "unreadable"],
)
def test_a_jetson(tmp_path: Path, files: dict[str, str], installed: dict[str, str], said: tuple[str, str, str]) -> None:
    (found,) = vendor.engines(tree(tmp_path, files), installed.get)
    assert found.verdict == said[0]
    assert said[1] in found.found
    assert said[2] in found.remedy


def test_the_vendors_release_is_named(tmp_path: Path) -> None:
    (found,) = vendor.engines(tree(tmp_path, JETSON), lambda _: None)
    assert found.found.startswith("Jetson L4T 36.4.0, ")


def test_tensorrt_of_the_systems_python(tmp_path: Path) -> None:
    tree(tmp_path, {"usr/lib/python3/dist-packages/tensorrt-10.3.0.dist-info/METADATA": ""})
    assert vendor.tensorrt_version(tmp_path) == "10.3.0"


@pytest.mark.parametrize("board", [{}, JETSON], ids=["any", "jetson"])
def test_two_packages_of_one_engine_stop_an_installation(tmp_path: Path, board: dict[str, str]) -> None:
    both = {"onnxruntime": "1.22", "onnxruntime-gpu": "1.20"}
    (found,) = vendor.engines(tree(tmp_path, board), both.get)
    assert found.verdict == "missing"
    assert "pip uninstall onnxruntime onnxruntime-gpu" in found.remedy


def test_elsewhere_nothing_is_said_of_vendors(tmp_path: Path) -> None:
    assert vendor.engines(tmp_path, {"onnxruntime": "1.22"}.get) == []


# --- what the configuration needs ------------------------------------------------------------------------------------


def serve(source: dict[str, Any] | None = None, *sinks: dict[str, Any], **others: Any) -> dict[str, Any]:
    return {"workloads": {"w": {"source": source or {"kind": "none"}, "sinks": sinks}}, **others}


CAMERA = {"kind": "camera", "width": 8, "height": 8}


@pytest.mark.parametrize(
    ("asked", "name", "extra"),
    [
        (serve(socket="/run/p.sock"), "application interface", "serve"),
        (serve(http={"port": 8600}), "application interface", "serve"),
        (serve(CAMERA), "camera software", "camera"),
    ],
)
def test_packages_that_are_asked_for(
    monkeypatch: pytest.MonkeyPatch, asked: dict[str, Any], name: str, extra: str
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    (found,) = serving.packages(config(serve=asked))
    assert (found.name, found.verdict) == (name, "missing")
    assert f"thresher[{extra}]" in found.remedy
    monkeypatch.setattr("importlib.util.find_spec", lambda _: object())
    assert serving.packages(config(serve=asked))[0].verdict == "ok"
    assert serving.packages(config()) == []


def test_secrets_are_read(tmp_path: Path) -> None:
    hook = {"kind": "webhook", "url": "http://h/", "authorization_file": tmp_path / "hook"}
    replay = {"kind": "replay", "path": tmp_path / "q.npy"}
    broker = {"password_file": tmp_path / "pw", "ca_file": tmp_path}
    asked = config(broker=broker, serve=serve(replay, hook, broker={"password_file": tmp_path / "own"}))
    found = {each.name: each.verdict for each in serving.files(asked)}
    assert found == dict.fromkeys(
        (
            "broker.password_file",
            "broker.ca_file",
            "serve.broker.password_file",
            "serve.workloads.w.sinks.0.authorization_file",
            "serve.workloads.w.source.path",
        ),
        "missing",
    )
    for name in ("pw", "hook", "q.npy", "own"):
        (tmp_path / name).write_text("x")
    assert [each.name for each in serving.files(asked) if each.verdict != "ok"] == ["broker.ca_file"]


def test_folders_are_there_or_can_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    jsonl = {"kind": "jsonl", "path": tmp_path / "file" / "out.jsonl"}
    asked = config(state_dir=tmp_path / "s", serve=serve({"kind": "folder", "path": tmp_path / "new" / "in"}, jsonl))
    found = {each.name: each.verdict for each in serving.files(asked)}
    assert found == {"serve.workloads.w.source.path": "ok", "serve.workloads.w.sinks.0.path": "missing"}


def test_a_state_folder_that_is_not_made_yet_is_no_fault(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    state = tmp_path / "file" / "state"  # nothing can be made there: only the installation could tell
    asked = config(state_dir=state, serve=serve({"kind": "folder", "path": state / "in"}))
    assert [each.verdict for each in serving.files(asked)] == ["ok"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can look as somebody else")
def test_files_are_looked_at_as_the_service(tmp_path: Path) -> None:
    secret = tmp_path / "pw"
    secret.write_text("x")
    secret.chmod(0o600)
    asked = config(broker={"password_file": secret}, serve=serve({"kind": "folder", "path": tmp_path / "in"}))
    faulty = [each.name for each in served(asked, (12345, 12345)) if each.verdict == "missing"]
    assert faulty == ["trusted keys", "broker.password_file", "serve.workloads.w.source.path"]
    assert [each.name for each in served(asked, None) if each.verdict == "missing"] == ["trusted keys"]


def test_a_trusted_key_that_is_none_stops_the_agent() -> None:
    assert serving.trusted_keys(config(trusted_keys={"k": "A"})).verdict == "missing"
    assert serving.trusted_keys(config(trusted_keys={"k": KEY})).verdict == "ok"


def test_a_user_without_a_password_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    monkeypatch.setattr(serving, "STORES", (str(tmp_path),))
    asked = config(broker={"username": "u"})
    assert [each.verdict for each in serving.login(asked)] == ["warning"]
    (tmp_path / serving.STORED).write_text("x")
    assert [each.verdict for each in serving.login(asked)] == ["ok"]
    assert serving.login(config()) == []


# --- enrolment --------------------------------------------------------------------------------------------------------


def test_the_claim_and_its_answer_are_told(tmp_path: Path) -> None:
    asked = config(state_dir=tmp_path)
    assert network.enrolment(asked) == []
    told = ((None, "warning", "not answered"), (False, "warning", "claim_spent"), (True, "ok", "d of farm"))
    for accepted, verdict, said in told:
        claim = make_claim(tmp_path, token(), "d")
        if accepted is not None:
            reason = None if accepted else "claim_spent"
            Claimer(tmp_path, Line()).answered(answer(claim, accepted, reason))
        (found,) = network.enrolment(asked)
        assert found.verdict == verdict
        assert said in found.found
    assert read_claim(tmp_path) is not None


def test_every_finding_that_is_not_well_says_what_to_do(tmp_path: Path) -> None:
    findings = check_up(config(state_dir=tmp_path / "state", engines_allowed=(), broker={"port": 1}), tmp_path)
    assert len(findings) > 10
    assert all(finding.remedy for finding in findings if finding.verdict != "ok")
    assert len({finding.name for finding in findings}) == len(findings)
