"""Child processes: environment, death with the parent, groups, caps. Real but tiny processes."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from agent.child import NO_CAP, Cap, Command, cap_kind, make_cap, spawn, worker_environment

ROOT = Path(__file__).resolve().parents[3]


def module(folder: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> str:
    """Write a module that a child can run, and return its name."""
    (folder / "child_under_test.py").write_text(text)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    return "child_under_test"


def test_the_environment_is_set_before_anything_is_imported() -> None:
    environment = worker_environment(3)
    assert environment["ORT_DISABLE_TELEMETRY"] == "1"
    assert {environment[name] for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")} == {"3"}
    assert environment["PYTHONPATH"].split(os.pathsep)[0] == str(ROOT)


def test_a_child_gets_its_arguments_and_a_group_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = module(tmp_path, monkeypatch, "import os, sys; print(sys.argv[1:], os.getpgid(0) == os.getpid(), __name__)")
    child = spawn(Command(name, ("a b", "c")))
    assert child.process.stdout is not None
    assert child.process.stdout.read() == b"['a b', 'c'] True __main__\n"
    assert child.wait(30) == 0
    child.release()


def test_killing_ends_grandchildren_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "import subprocess; p = subprocess.Popen(['sleep', '600']); print(p.pid, flush=True); p.wait()"
    child = spawn(Command(module(tmp_path, monkeypatch, text), ()))
    assert child.process.stdout is not None
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
        "child.process.stdout.readline(); print(child.pid, flush=True); time.sleep(600)"
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


def test_no_limit_is_no_cap() -> None:
    assert make_cap(None) == NO_CAP == Cap()


@pytest.mark.skipif(cap_kind() != "cgroup", reason="no cgroup may be made here: the worker's own rlimit holds the cap")
def test_a_cgroup_holds_the_cap_and_is_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cap = make_cap(64 * 1024 * 1024)
    assert cap.folder is not None
    child = spawn(Command(module(tmp_path, monkeypatch, "b = bytearray(512 * 1024 * 1024)"), (), cap=cap))
    assert child.wait(60) == -signal.SIGKILL
    assert child.was_out_of_memory()
    child.release()
    assert not cap.folder.exists()


def test_without_a_cgroup_the_worker_holds_its_cap_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.child._own_cgroup", lambda: None)
    assert make_cap(2**26) == Cap(2**26, "rlimit", None)
