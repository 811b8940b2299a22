"""The sandbox from the inside: a real worker tries what it must not. What this kernel lacks is not tried."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.child import Child, Command, spawn
from agent.device.sandbox import confine, identity, landlock, paths
from agent.device.sandbox.confine import abilities
from agent.device.sandbox.environment import scrubbed

MODULE = "tests.unit.agent.device.sandbox_probe"
REFUSED = "PermissionError"
ABILITIES = abilities()
needs_filter = pytest.mark.skipif(ABILITIES["network"] != "seccomp", reason="no system-call filter on this kernel")
needs_landlock = pytest.mark.skipif(ABILITIES["files"] == "none", reason="no Landlock on this kernel")
needs_users = pytest.mark.skipif(not ABILITIES["user"], reason="workers cannot be given another user here")


@pytest.fixture
def places(tmp_path: Path) -> Iterator[list[str]]:
    """Own folder, result folder, another's file, a port and a Unix socket that somebody listens on."""
    for name in ("own", "results", "state"):
        (tmp_path / name).mkdir()
    (tmp_path / "state/identity.json").write_text("{}")
    path = str(tmp_path / "state/bus.sock")
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_UNIX) as bus:
        bus.bind(path)
        bus.listen()
        own, results, other = (str(tmp_path / each) for each in ("own", "results", "state/identity.json"))
        yield [own, results, other, str(server.getsockname()[1]), path]


def tried(places: list[str], **changes: Any) -> tuple[dict[str, str], dict[str, Any], Child]:
    fields: dict[str, Any] = {"readable": (Path(places[0]),), "writable": (Path(places[1]),), **changes}
    child = spawn(Command(MODULE, tuple(places), **fields))
    tries, state = child.lines()
    assert child.wait(30) == 0
    child.release()
    return dict(tries), dict(state), child


@needs_filter
@needs_landlock
def test_a_worker_reaches_its_own_files_and_nothing_else(places: list[str]) -> None:
    tries, state, child = tried(places)
    allowed = {name for name, outcome in tries.items() if outcome == "done"}
    assert allowed == {
        *("read_own", "write_result", "rename_result", "reset_peak"),
        *("stream_pair", "signal_self", "limit_self", "thread", "abort_in_child"),
    }
    assert {outcome for name, outcome in tries.items() if name not in allowed} == {REFUSED}
    assert (state["status"]["CapEff"], state["status"]["NoNewPrivs"]) == ("0000000000000000", "1")
    assert child.sandbox == {
        "network": "seccomp",
        "files": f"landlock {landlock.version()}",
        "user": None,
        "cpu": {},
        "lacks": [],
    }


@needs_filter
def test_without_file_rules_the_filter_holds_alone(places: list[str]) -> None:
    tries, _, child = tried(places, readable=(), writable=())
    assert {tries[name] for name in ("internet_socket", "unix_connect", "trace_parent", "signal_parent")} == {REFUSED}
    assert tries["read_other"] == "done"
    assert (child.sandbox["network"], child.sandbox["files"]) == ("seccomp", "none")


@needs_filter
def test_the_gateway_has_the_network_and_yet_not_the_rest(places: list[str]) -> None:
    tries, _, child = tried(places, readable=(), writable=(), network=True)
    assert {tries[name] for name in ("internet_socket", "unix_connect", "read_other", "change_mode")} == {"done"}
    assert {tries[name] for name in ("trace_parent", "new_namespace")} == {REFUSED}
    assert child.sandbox["network"] == "open"


@needs_landlock
def test_landlock_keeps_tcp_and_files_where_there_is_no_filter(
    places: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hide(tmp_path, monkeypatch, "agent.device.sandbox.seccomp", "apply")
    tries, _, child = tried(places)
    assert {tries[name] for name in ("read_other", "read_shadow", "write_own", "list_root")} == {REFUSED}
    if landlock.version() >= 4:
        assert tries["internet_socket"] == REFUSED
        assert child.sandbox["network"] == "landlock"
    assert child.sandbox["lacks"] == ["network: Function not implemented"]


def test_switched_off_it_holds_nothing_and_says_so(places: list[str]) -> None:
    tries, _, child = tried(places, sandbox="off")
    assert {tries[name] for name in ("internet_socket", "unix_connect", "read_other", "write_own")} == {"done"}
    assert (child.sandbox["network"], child.sandbox["files"]) == ("none", "none")


@pytest.mark.parametrize("module", ["agent.device.sandbox.seccomp", "agent.device.sandbox.landlock"])
def test_a_required_part_that_lacks_refuses_the_start(
    places: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str
) -> None:
    hide(tmp_path, monkeypatch, module, "apply")
    child = spawn(Command(MODULE, tuple(places), readable=(tmp_path,), sandbox="required"), subprocess.DEVNULL)
    assert list(child.lines()) == []
    assert child.wait(30) == 1
    assert not child.launched
    assert "workers.sandbox is required" in child.refusal
    assert "Function not implemented" in child.refusal
    child.release()


def hide(folder: Path, monkeypatch: pytest.MonkeyPatch, module: str, function: str) -> None:
    """Make a step of the child's sandbox fail as on a kernel without it: `sitecustomize` runs before the launcher."""
    text = f"import {module} as module\ndef lacking(*_):\n    raise OSError(38, 'Function not implemented')\n"
    (folder / "site").mkdir()
    (folder / "site/sitecustomize.py").write_text(f"{text}module.{function} = lacking\n")
    monkeypatch.setenv("PYTHONPATH", str(folder / "site"))


def test_nothing_secret_is_in_the_environment(places: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("THRESHER_AGENT_BROKER_PASSWORD", "CREDENTIALS_DIRECTORY", "NOTIFY_SOCKET", "AWS_ACCESS_KEY_ID"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("PYTHON_KEYRING_TOKEN", "x")
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    _, state, _ = tried(places)
    secret = ("THRESHER", "CREDENTIALS", "NOTIFY", "AWS", "PYTHON_KEYRING")
    assert [name for name in state["variables"] if name.startswith(secret)] == []
    assert {"LC_ALL", "ORT_DISABLE_TELEMETRY", "OMP_NUM_THREADS"} <= set(state["variables"])


def test_the_environment_is_a_list_of_what_is_allowed() -> None:
    given = {"PATH": "/bin", "SOMETHING": "x", "ORT_LOG": "1", "TF_SECRET_KEY": "x", "LD_PRELOAD": "x"}
    assert scrubbed(given) == {"PATH": "/bin", "ORT_LOG": "1"}


def test_imports_never_open_the_whole_system(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "path", ["", "/", str(Path.home()), "/etc", str(tmp_path)])
    folders = {path for path, access in paths.imports("agent") if access & landlock.READ_FILE}
    assert tmp_path in folders
    assert folders.isdisjoint({Path("/"), Path.home(), Path("/etc")})


def test_a_checkouts_other_folders_stay_closed() -> None:
    root = Path(__file__).resolve().parents[4]
    rules = dict(paths.imports("agent"))
    if root not in rules:
        pytest.skip("installed, not a checkout")
    assert rules[root] == landlock.LIST
    assert root / "docs" not in rules


def test_cores_niceness_and_quota_are_taken_and_told(places: list[str]) -> None:
    core = min(os.sched_getaffinity(0))
    _, state, child = tried(places, cores=(core,), nice=7, cpu_quota_ratio=0.5, cap_bytes=2**30)
    assert state["status"]["Cpus_allowed_list"] == str(core)
    held = child.sandbox["cpu"]
    assert (held["cores"], held["quota_ratio"]) == ([core], 0.5)
    assert held["nice"] == min(19, os.nice(0) + 7)
    assert held["quota_by"] in ("cgroup", "none")


def test_a_core_that_is_not_there_refuses_the_start(places: list[str]) -> None:
    child = spawn(Command(MODULE, tuple(places), cores=(1023,)), subprocess.DEVNULL)
    assert list(child.lines()) == []
    assert child.wait(30) == 1
    assert "Invalid argument" in child.refusal
    child.release()


def test_a_user_that_cannot_be_had_is_told_and_not_taken(places: list[str]) -> None:
    _, state, child = tried(places, user="no-such-user")
    assert state["status"]["Uid"] == str(os.geteuid())
    assert child.sandbox["user"] is None
    assert child.sandbox["lacks"][0].startswith("user: ")


def test_workers_are_never_run_as_root() -> None:
    assert identity.why_not("root") == "workers are not run as root"


@needs_users
def test_a_worker_has_a_user_of_its_own_and_can_be_killed(
    places: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reachable_interpreter(monkeypatch)
    tmp_path.chmod(0o700)
    tries, state, child = tried(places, user="nobody")
    assert child.sandbox["user"] == "nobody"
    assert state["status"]["Uid"] != str(os.geteuid())
    assert (tries["read_own"], tries["write_result"], tries["reset_peak"]) == ("done", "done", "done")
    assert (tries["read_other"], tries["write_own"]) == (REFUSED, REFUSED)


def reachable_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have children run by an interpreter that every user can run: the launcher needs no package."""
    found = Path("/usr/bin/python3")
    probe = "import sys; print(sys.version_info >= (3, 11))"
    if not found.exists() or "True" not in subprocess.run([found, "-c", probe], capture_output=True, text=True).stdout:
        pytest.skip("no Python 3.11 in /usr/bin that another user could run")
    for name in ("prefix", "base_prefix"):
        monkeypatch.setattr(sys, name, "/usr")
    monkeypatch.setattr(sys, "executable", str(found))
    if identity.why_not("nobody") is not None:
        pytest.skip(f"not from here: {identity.why_not('nobody')}")


def test_what_the_host_can_do_is_told_without_doing_it() -> None:
    code = (
        "import json, sys; from agent.device.sandbox.confine import abilities; "
        "print(json.dumps([abilities(), 'numpy' in sys.modules, open('/etc/hostname').readable()]))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment())
    assert json.loads(ended.stdout) == [ABILITIES, False, True]
    assert set(ABILITIES) == {"network", "files", "user"}


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(confine.__file__).parents[3])}
