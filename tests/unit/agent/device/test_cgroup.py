"""Leaves of memory cgroups: whose they are, and which are swept. Plain folders and real locks."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from agent.device import cgroup


@pytest.fixture
def parent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that looks like a cgroup, as far as this module sees: leaves with files that rmdir does not mind."""
    monkeypatch.setattr(cgroup, "own_place", lambda: cgroup.Place(tmp_path, None, 2))
    monkeypatch.setattr(cgroup, "_remove", _rmdir_as_cgroups_do)
    real_mkdir = Path.mkdir

    def mkdir(self: Path, *arguments: object, **named: object) -> None:
        real_mkdir(self, *arguments, **named)  # type: ignore[arg-type]
        if self.parent == tmp_path:
            (self / "cgroup.procs").write_text("")

    monkeypatch.setattr(Path, "mkdir", mkdir)
    return tmp_path


def _rmdir_as_cgroups_do(folder: Path) -> None:
    if folder.is_dir() and not (folder / "cgroup.procs").read_text().split():
        for each in folder.iterdir():
            each.unlink()
        folder.rmdir()


def test_a_leaf_has_its_limit_and_is_dropped(parent: Path) -> None:
    leaf = cgroup.make_leaf(12345)
    assert leaf is not None
    assert (leaf.folder / "memory.max").read_text() == "12345"
    leaf.drop()
    assert list(parent.iterdir()) == []


def test_another_agent_does_not_sweep_an_empty_leaf_whose_worker_has_yet_to_join(parent: Path) -> None:
    """The race that was seen: an agent starts, and sweeps, between another one's making a leaf and its child's join."""
    leaf = cgroup.make_leaf(1)
    assert leaf is not None
    code = "from pathlib import Path; from agent.device import cgroup; "
    code += f"cgroup.sweep(cgroup.Place(Path({str(parent)!r}), None, 2))"
    subprocess.run([sys.executable, "-c", code], check=True)
    cgroup.sweep()
    assert leaf.processes_file.is_file()
    leaf.drop()


def test_what_a_killed_agent_left_is_swept(parent: Path) -> None:
    code = (
        "import os, time; from pathlib import Path; from agent.device import cgroup\n"
        f"folder = Path({str(parent)!r}) / 'thresher-1-a'; lock = cgroup._locked(folder)\n"
        "print(lock is not None, flush=True); time.sleep(600)"
    )
    (parent / "thresher-1-a").mkdir()
    holder = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"True\n"
    cgroup.sweep()
    assert (parent / "thresher-1-a").is_dir()
    holder.send_signal(signal.SIGKILL)
    holder.wait(30)
    holder.stdout.close()
    cgroup.sweep()
    assert not (parent / "thresher-1-a").exists()


def test_a_leaf_with_processes_stays(parent: Path) -> None:
    (parent / "thresher-1-b").mkdir()
    (parent / "thresher-1-b" / "cgroup.procs").write_text("4711\n")
    cgroup.sweep()
    assert (parent / "thresher-1-b").is_dir()


def test_a_leaf_that_is_swept_before_it_is_locked_is_made_again(parent: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(parent.iterdir()) == []
    locked = cgroup._locked
    lost: list[Path] = []

    def lose_the_first(folder: Path) -> int | None:
        if not lost:
            lost.append(folder)
            _rmdir_as_cgroups_do(folder)
        return locked(folder)

    monkeypatch.setattr(cgroup, "_locked", lose_the_first)
    leaf = cgroup.make_leaf(1)
    assert leaf is not None
    assert leaf.folder != lost[0]
    leaf.drop()


def test_where_none_may_be_made_there_is_none(parent: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cgroup, "own_place", lambda: cgroup.Place(parent / "absent", None, 2))
    before = len(os.listdir("/proc/self/fd"))
    assert cgroup.make_leaf(1) is None
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_quota_is_told_from_a_leaf_that_has_none(parent: Path) -> None:
    leaf = cgroup.make_leaf(None, 0.5)
    assert leaf is not None
    assert leaf.folder.parent == parent
    assert not leaf.holds_quota  # this folder has no cpu.max, as where the controller is not delegated
    leaf.drop()


def proc_and_root(folder: Path, groups: str, *folders: str) -> tuple[Path, Path]:
    """Lay out /proc/self and /sys/fs/cgroup as a process in `groups` sees them."""
    proc, root = folder / "proc", folder / "root"
    proc.mkdir()
    (proc / "cgroup").write_text(groups)
    for each in folders:
        (root / each).mkdir(parents=True)
    return proc, root


V2_GROUP = "system.slice/thresher-agent.service"


def v2(folder: Path, *pids: int) -> tuple[Path, Path]:
    proc, root = proc_and_root(folder, f"0::/{V2_GROUP}\n", V2_GROUP)
    (root / "cgroup.controllers").write_text("cpu memory pids")
    (root / V2_GROUP / "cgroup.procs").write_text("".join(f"{pid}\n" for pid in pids))
    return proc, root


def test_under_version_2_the_agent_moves_out_of_its_leaves_way(tmp_path: Path) -> None:
    proc, root = v2(tmp_path, os.getpid())
    assert cgroup.prepare(root, proc)
    own = root / V2_GROUP
    assert (own / "control/cgroup.procs").read_text() == str(os.getpid())
    assert (own / "cgroup.subtree_control").read_text() == "+cpu"  # written last; a kernel takes one after the other
    (proc / "cgroup").write_text(f"0::/{V2_GROUP}/control\n")
    assert cgroup.own_place(root, proc) == cgroup.Place(own, own, 2)
    assert not cgroup.prepare(root, proc)


def test_a_group_with_other_processes_is_left_as_it_is(tmp_path: Path) -> None:
    proc, root = v2(tmp_path, os.getpid(), 4711)
    assert not cgroup.prepare(root, proc)
    assert not (root / V2_GROUP / "control").exists()


def test_a_group_that_may_not_be_changed_is_no_error(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    proc, root = v2(tmp_path, os.getpid())
    (root / V2_GROUP / "control").write_text("")  # in the way, as a read-only tree is
    with caplog.at_level("INFO"):
        assert not cgroup.prepare(root, proc)
    assert "rlimits hold their caps" in caplog.text


def test_version_1_has_a_tree_for_each_controller(tmp_path: Path) -> None:
    groups = "9:cpu,cpuacct:/a\n4:memory:/a\n0::/a\n"
    proc, root = proc_and_root(tmp_path, groups, "memory/a", "cpu/a")
    (root / "cgroup.controllers").write_text("")
    assert cgroup.own_place(root, proc) == cgroup.Place(root / "memory/a", root / "cpu/a", 1)
    assert not cgroup.prepare(root, proc)


def test_a_container_sees_its_own_folder_under_the_hosts_name(tmp_path: Path) -> None:
    proc, root = proc_and_root(tmp_path, "4:memory:/docker/abc\n", "memory")
    assert cgroup.own_place(root, proc) == cgroup.Place(root / "memory", None, 1)


def test_without_cgroups_there_is_no_place(tmp_path: Path) -> None:
    proc, root = proc_and_root(tmp_path, "0::/\n", "empty")
    assert cgroup.own_place(root, proc) is None
    assert not cgroup.prepare(root, proc)
    assert cgroup.own_place(root, tmp_path / "absent") is None


REAL_V2 = next(
    (path for path in (cgroup.ROOT, cgroup.ROOT / "unified") if (path / "cgroup.controllers").exists()), None
)


@pytest.mark.skipif(REAL_V2 is None or os.geteuid() != 0, reason="needs root and a cgroup v2 tree")
def test_a_real_kernel_lets_the_agent_move_and_a_worker_be_killed() -> None:
    assert REAL_V2 is not None
    group = REAL_V2 / f"thresher-test-{os.getpid()}"
    group.mkdir()
    code = (
        "import os, subprocess, sys; from pathlib import Path; from agent.device import cgroup\n"
        f"root, group = Path({str(REAL_V2)!r}), Path({str(group)!r})\n"
        "(group / 'cgroup.procs').write_text(str(os.getpid()))\n"
        "assert cgroup.prepare(root)\n"
        "assert cgroup.own_place(root) == cgroup.Place(group, group, 2)\n"
        "leaf = cgroup.make_leaf(None, 0.5, cgroup.own_place(root))\n"
        "worker = subprocess.Popen(['sleep', '600'])\n"
        "leaf.processes_file.write_text(str(worker.pid))\n"
        "print(leaf.kill(), worker.wait(), leaf.holds_quota, (group / 'cgroup.controllers').read_text().split())\n"
        "leaf.drop()"
    )
    try:
        ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
        assert ended.returncode == 0, ended.stderr
        has_cpu = "'cpu'" in ended.stdout
        assert ended.stdout.startswith(f"True -9 {has_cpu} ")
    finally:
        for folder in (*group.glob("*/"), group):
            folder.rmdir()
