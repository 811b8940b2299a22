"""Threads that an engine can have: no more than cores, nor than a quota is worth."""

import os
from pathlib import Path

import pytest

from agent.measure.host.cores import usable_threads

OURS = sorted(os.sched_getaffinity(0))


def with_quota(root: Path, quota: str) -> Path:
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text("0::/box\n")
    (root / "sys/fs/cgroup/box").mkdir(parents=True)
    (root / "sys/fs/cgroup/cgroup.controllers").write_text("cpu memory\n")
    (root / "sys/fs/cgroup/box/cpu.max").write_text(quota)
    return root


def test_without_a_quota_there_are_as_many_as_cores(tmp_path: Path) -> None:
    root = with_quota(tmp_path, "max 100000\n")
    assert usable_threads(root=root) == len(OURS)
    assert usable_threads(cores=OURS[:1], root=root) == 1
    assert usable_threads(cores=(100_000,), root=root) == len(OURS)  # none of ours: the order itself will be refused


@pytest.mark.parametrize(("quota", "threads"), [("50000 100000\n", 1), ("100000 100000\n", 1)])
def test_a_quota_holds_threads_back_and_half_a_core_is_one(tmp_path: Path, quota: str, threads: int) -> None:
    assert usable_threads(root=with_quota(tmp_path, quota)) == threads


def test_the_workers_own_quota_counts_as_well(tmp_path: Path) -> None:
    root = with_quota(tmp_path, "max 100000\n")
    assert usable_threads(quota_cores=0.25, root=root) == 1
    assert usable_threads(quota_cores=1000.0, root=root) == len(OURS)
