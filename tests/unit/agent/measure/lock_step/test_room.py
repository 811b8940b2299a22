"""When two workers may be alive at once, and on which core; from files written here."""

import os
from pathlib import Path

import pytest

from agent.measure.lock_step.room import PROCESS_BYTES, available_bytes, reason_against, shared_core

GIB = 2**30


def root_with(folder: Path, available_kib: int, limit: str = "max", used: int = 0) -> Path:
    (folder / "proc").mkdir(parents=True)
    (folder / "proc/meminfo").write_text(f"MemTotal: 99999999 kB\nMemAvailable: {available_kib} kB\n")
    (folder / "sys/fs/cgroup").mkdir(parents=True)
    (folder / "sys/fs/cgroup/memory.max").write_text(f"{limit}\n")
    (folder / "sys/fs/cgroup/memory.current").write_text(f"{used}\n")
    return folder


@pytest.mark.parametrize(
    ("sizes", "cap", "says"),
    [
        ([0, 0], None, ""),
        ([GIB, GIB], None, "MiB, 4096 MiB are available"),
        ([0, 0], 2 * PROCESS_BYTES, ""),
        ([0, 0], 2 * PROCESS_BYTES - 1, "the memory cap is 255 MiB"),
        ([0], None, "1 variants: two can take turns"),
        ([0, 0, 0], None, "3 variants"),
    ],
)
def test_two_at_once_must_fit(tmp_path: Path, sizes: list[int], cap: int | None, says: str) -> None:
    root = root_with(tmp_path, 4 * GIB // 1024)
    found = reason_against("single_stream", sizes, cap, root)
    assert (says in found) if says else (found == "")


def test_other_scenarios_go_process_by_process(tmp_path: Path) -> None:
    root = root_with(tmp_path, 4 * GIB // 1024)
    assert "the scenario paced has a time of its own" in reason_against("paced", [0, 0], None, root)


def test_a_containers_limit_counts(tmp_path: Path) -> None:
    assert available_bytes(root_with(tmp_path / "a", 1024, "1000000", 400_000)) == 600_000
    assert available_bytes(root_with(tmp_path / "b", 1024, "max")) == 1024 * 1024
    assert available_bytes(tmp_path / "nothing") is None
    assert reason_against("single_stream", [0, 0], None, tmp_path / "nothing") == ""


def test_one_thread_is_held_to_the_fastest_core(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3})
    for core, capacity in enumerate((446, 1024, 1024, 446)):
        folder = tmp_path / f"sys/devices/system/cpu/cpu{core}"
        folder.mkdir(parents=True)
        (folder / "cpu_capacity").write_text(f"{capacity}\n")
    assert shared_core(1, None, tmp_path) == (2,)
    assert shared_core(1, [0, 3], tmp_path) == (3,)
    assert shared_core(1, None, tmp_path / "alike") == (3,)
    assert shared_core(2, None, tmp_path) is None
