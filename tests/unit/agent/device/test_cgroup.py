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
    monkeypatch.setattr(cgroup, "_own_cgroup", lambda: (tmp_path, "memory.max"))
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
    code = f"from pathlib import Path; from agent.device import cgroup; cgroup.sweep(Path({str(parent)!r}))"
    subprocess.run([sys.executable, "-c", code], check=True)
    cgroup.sweep(parent)
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
    cgroup.sweep(parent)
    assert (parent / "thresher-1-a").is_dir()
    holder.send_signal(signal.SIGKILL)
    holder.wait(30)
    holder.stdout.close()
    cgroup.sweep(parent)
    assert not (parent / "thresher-1-a").exists()


def test_a_leaf_with_processes_stays(parent: Path) -> None:
    (parent / "thresher-1-b").mkdir()
    (parent / "thresher-1-b" / "cgroup.procs").write_text("4711\n")
    cgroup.sweep(parent)
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
    monkeypatch.setattr(cgroup, "_own_cgroup", lambda: (parent / "absent", "memory.max"))
    before = len(os.listdir("/proc/self/fd"))
    assert cgroup.make_leaf(1) is None
    assert len(os.listdir("/proc/self/fd")) == before
