"""Child processes: environment, death with the parent, groups, caps. Real but tiny processes."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from agent.child import Child, Command, cap_kind, spawn, worker_environment
from agent.device import cgroup

ROOT = Path(__file__).resolve().parents[3]


CAP_BYTES = 64 * 1024 * 1024
needs_cgroups = pytest.mark.skipif(cap_kind() != "cgroup", reason="no cgroup may be made here: an rlimit holds the cap")


def module(folder: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> str:
    """Write a module whose main does what `text` says and a child can run, and return its name."""
    body = text.replace("; ", "\n    ")
    (folder / "child_under_test.py").write_text(f"def main(arguments):\n    {body}\n    return 0\n")
    monkeypatch.setenv("PYTHONPATH", str(folder))
    return "child_under_test"


def test_the_environment_is_set_before_anything_is_imported() -> None:
    environment = worker_environment(3)
    assert environment["ORT_DISABLE_TELEMETRY"] == "1"
    assert {environment[name] for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")} == {"3"}
    assert environment["PYTHONPATH"].split(os.pathsep)[0] == str(ROOT)


def test_a_child_gets_its_arguments_and_a_group_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "import os, json; print(json.dumps({'given': arguments, 'own': os.getpgid(0) == os.getpid()}))"
    child = spawn(Command(module(tmp_path, monkeypatch, text), ("a b", "c")))
    assert list(child.lines()) == [{"given": ["a b", "c"], "own": True}]
    assert (child.launched, child.cap_by) == (True, None)
    assert child.wait(30) == 0
    child.release()


def test_killing_ends_grandchildren_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "import subprocess; p = subprocess.Popen(['sleep', '600']); print(p.pid, flush=True); p.wait()"
    child = spawn(Command(module(tmp_path, monkeypatch, text), ()))
    assert child.process.stdout is not None
    assert b"launched" in child.process.stdout.readline()
    grandchild = psutil.Process(int(child.process.stdout.readline()))
    assert child.running
    child.kill()
    assert child.wait(30) == -signal.SIGKILL
    grandchild.wait(30)
    child.release()


def test_a_child_dies_with_its_parent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sleeper = module(tmp_path, monkeypatch, "import time; print('up', flush=True); time.sleep(600)")
    parent_text = (
        "import sys, time; from agent.child import Command, spawn\n"
        f"child = spawn(Command('{sleeper}', ()))\n"
        "[child.process.stdout.readline() for _ in ('launched', 'up')]\n"
        "print(child.pid, flush=True); time.sleep(600)"
    )
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"}
    parent = subprocess.Popen([sys.executable, "-c", parent_text], stdout=subprocess.PIPE, env=environment)
    assert parent.stdout is not None
    child = psutil.Process(int(parent.stdout.readline()))
    parent.kill()
    parent.wait(30)
    parent.stdout.close()
    child.wait(30)


def test_waiting_has_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    child = spawn(Command(module(tmp_path, monkeypatch, "import time; time.sleep(600)"), ()))
    assert child.wait(0.01) is None
    child.kill()
    child.wait(30)
    child.release()
    child.kill()  # one that has ended is no fault


@needs_cgroups
def test_a_cgroup_holds_the_cap_and_is_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    child = spawn(Command(module(tmp_path, monkeypatch, "b = bytearray(512 * 1024 * 1024)"), (), cap_bytes=CAP_BYTES))
    assert list(child.lines()) == []
    assert child.wait(60) == -signal.SIGKILL
    assert (child.launched, child.cap_by) == (True, "cgroup")
    assert child.was_out_of_memory()
    leaves = own_leaves()
    assert len(leaves) == 1
    child.release()
    assert own_leaves() == []


@needs_cgroups
def test_a_leaf_of_its_own_without_any_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "import sys, json; print(json.dumps({'up': True}), flush=True); sys.stdin.read()"
    child = spawn(Command(module(tmp_path, monkeypatch, text), (), own_leaf=True))
    lines = child.lines()
    assert next(lines) == {"up": True}
    assert child.cap_by is None
    (leaf,) = own_leaves()
    assert (leaf / "cgroup.procs").read_text().split() == [str(child.pid)]
    assert child.process.stdin is not None
    child.process.stdin.close()
    assert child.wait(30) == 0
    child.release()
    assert own_leaves() == []


def own_leaves() -> list[Path]:
    """Return the leaves that this process has made."""
    place = cgroup.own_place()
    return sorted(place.memory.glob(f"{cgroup.PREFIX}{os.getpid()}-*")) if place is not None else []


SHOW_LIMIT = "import json, resource; print(json.dumps({'limit': resource.getrlimit(resource.RLIMIT_DATA)[0]}))"


def test_without_a_cgroup_an_rlimit_holds_the_cap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cgroup, "own_place", lambda: None)
    child = spawn(Command(module(tmp_path, monkeypatch, SHOW_LIMIT), (), cap_bytes=CAP_BYTES))
    assert_held_by_an_rlimit(child)


@needs_cgroups
def test_an_agent_that_starts_meanwhile_leaves_the_leaf_to_the_child_that_will_join(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def raced(limit_bytes: int | None, quota_ratio: float | None) -> cgroup.Leaf | None:
        leaf = cgroup.make_leaf(limit_bytes, quota_ratio)
        subprocess.run([sys.executable, "-c", "from agent.device import cgroup; cgroup.sweep()"], check=True, cwd=ROOT)
        return leaf

    monkeypatch.setattr("agent.child.make_leaf", raced)
    child = spawn(Command(module(tmp_path, monkeypatch, "pass"), (), cap_bytes=CAP_BYTES))
    assert list(child.lines()) == []
    assert (child.wait(30), child.cap_by) == (0, "cgroup")
    child.release()
    assert own_leaves() == []


@needs_cgroups
def test_a_cgroup_that_is_gone_before_the_child_joins_is_replaced_by_an_rlimit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(limit_bytes: int | None, quota_ratio: float | None) -> cgroup.Leaf | None:
        leaf = cgroup.make_leaf(limit_bytes, quota_ratio)
        assert leaf is not None
        leaf.folder.rmdir()
        return leaf

    monkeypatch.setattr("agent.child.make_leaf", lost)
    with (tmp_path / "errors").open("w+b") as errors:
        child = spawn(Command(module(tmp_path, monkeypatch, SHOW_LIMIT), (), cap_bytes=CAP_BYTES), errors.fileno())
        assert_held_by_an_rlimit(child)
    assert "cgroup not joined" in (tmp_path / "errors").read_text()


def assert_held_by_an_rlimit(child: Child) -> None:
    assert list(child.lines()) == [{"limit": CAP_BYTES}]
    assert (child.launched, child.cap_by) == (True, "rlimit")
    assert child.wait(30) == 0
    child.release()


@pytest.mark.parametrize("text", ["raise ImportError('damaged')", "import os\nos.kill(os.getpid(), 9)"])
def test_an_end_before_the_workers_main_is_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    name = module(tmp_path, monkeypatch, "pass")
    (tmp_path / f"{name}.py").write_text(text)
    child = spawn(Command(name, ()), subprocess.DEVNULL)
    assert list(child.lines()) == []
    assert child.wait(30) != 0
    assert not child.launched
    child.release()


ECHO = (
    "import json, os, socket; s = socket.socket(fileno=0); data, fds, _, _ = socket.recv_fds(s, 1000, 4); "
    "os.write(fds[0], data); print(json.dumps({'descriptors': len(fds)}), flush=True); s.recv(1)"
)


def test_a_line_and_a_descriptor_reach_a_child_over_its_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    child = spawn(Command(module(tmp_path, monkeypatch, ECHO), (), stdin_socket=True, readable=(tmp_path,)))
    with (tmp_path / "given").open("wb") as given:
        child.send({"do": "attach"}, given.fileno())
    assert next(child.lines()) == {"descriptors": 1}
    assert (tmp_path / "given").read_text() == '{"do": "attach"}\n'  # opened out here, written in there
    assert child.socket is not None
    child.socket.close()  # the end of its commands
    assert child.wait(30) == 0
    child.send({"do": "stop"})  # nobody hears it, and that is no fault
    child.release()
    child.send({"do": "stop"})


def test_a_child_that_has_ended_is_not_heard_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    child = spawn(Command(module(tmp_path, monkeypatch, "pass"), (), stdin_socket=True))
    assert child.wait(30) == 0
    child.send({"do": "stop"})
    child.release()


def test_a_child_that_does_not_read_blocks_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.child.SEND_TIMEOUT_S", 0.1)
    child = spawn(Command(module(tmp_path, monkeypatch, "import time; time.sleep(600)"), (), stdin_socket=True))
    with pytest.raises(OSError, match="timed out"):
        child.send({"text": "x" * 4_000_000})
    child.kill()
    assert child.wait(30) == -signal.SIGKILL
    child.release()


def test_only_a_socket_can_be_sent_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    child = spawn(Command(module(tmp_path, monkeypatch, "pass"), ()))
    with pytest.raises(ValueError, match="socket at its stdin"):
        child.send({})
    assert child.wait(30) == 0
    child.release()


def test_the_folder_that_the_agent_stands_in_is_not_imported_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "here/json.py").write_text("raise SystemExit('imported from where the agent stands')")
    name = module(tmp_path, monkeypatch, "pass")
    monkeypatch.chdir(tmp_path / "here")
    child = spawn(Command(name, ()))
    assert child.wait(30) == 0
    child.release()
