"""Agent and controller as their units describe them, run by a real systemd: limits, restart, watchdog, own users.

A systemd of its own is the first process of namespaces on this host, see `unit_launcher.py`. Skipped where that cannot
be: without root, systemd or cgroups.
"""

import json
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from controller.broker.embedded import EmbeddedBroker
from tests.e2e import unit_launcher
from tests.e2e.lone_controller import LoneController, agent_document, tiny_bundle
from tests.e2e.unit_launcher import AGENT_UID, WORKER_UID, UnitLauncher
from wire.device_state import State

_REFUSAL = unit_launcher.why_not()
pytestmark = [pytest.mark.e2e, pytest.mark.skipif(_REFUSAL is not None, reason=str(_REFUSAL))]

BACK_WITHIN_S = 5.0
"""What issue 4 asks: a killed agent serves the same bundle again in less."""

BUNDLE = tiny_bundle(1.0)
PREDICTIONS = "predictions.jsonl"
SERVED = {
    "source": {"kind": "replay", "rate_hz": 20.0},
    "sinks": [{"kind": "jsonl", "path": f"/var/lib/thresher/{PREDICTIONS}", "flush_s": 0}],
}
Launch = Callable[..., UnitLauncher]


@pytest.fixture
def controller(tmp_path: Path) -> Iterator[LoneController]:
    with EmbeddedBroker(folder=tmp_path / "broker") as broker:
        each = LoneController(broker.port, BUNDLE)
        each.port = broker.port  # type: ignore[attr-defined]
        yield each
        each.close()


@pytest.fixture
def launch(controller: LoneController, kernel_cache: Path) -> Iterator[Launch]:
    """Start the unit and have the agent commit the bundle."""
    folder = Path(tempfile.mkdtemp(prefix="unit-"))
    folder.chmod(0o755)
    started: list[UnitLauncher] = []

    def begin(changes: dict[str, Any] | None = None, **fields: Any) -> UnitLauncher:
        document = agent_document(controller.port, folder, controller)  # type: ignore[attr-defined]
        document |= {"serve": {"workloads": {"main": SERVED}}, **(changes or {})}
        unit = UnitLauncher(folder, document, kernel_cache, **fields)
        started.append(unit.__enter__())
        unit.main_pid()
        controller.desired(1, BUNDLE)
        controller.state(State.COMMITTED, 1)
        return unit

    yield begin
    for unit in started:
        unit.__exit__()
    shutil.rmtree(folder)


def status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.split()[0] for name, _, value in (line.partition(":") for line in lines) if value.strip()}


def predictions(unit: UnitLauncher) -> list[dict[str, Any]]:
    lines = (unit.state_dir / PREDICTIONS).read_text().splitlines()
    return [json.loads(line) for line in lines if line.endswith("}")]


def served_after(unit: UnitLauncher, moment_s: float) -> dict[str, Any] | None:
    """Return the first prediction after `moment_s`."""
    return next((each for each in predictions(unit) if each["at_s"] > moment_s), None)


def test_the_agent_serves_under_the_units_limits(launch: Launch) -> None:
    """With the drop-in no-jit.conf as well: the kernels' library needs no compiler."""
    unit = launch(drop_ins=("no-jit",), credential="secret")
    first: dict[str, Any] = unit.wait("a prediction", lambda: served_after(unit, 0.0))
    assert first["bundle"] == BUNDLE.ref.digest
    pid = unit.main_pid()
    seen = status(pid)
    assert (seen["Uid"], seen["NoNewPrivs"], seen["Seccomp"]) == (str(AGENT_UID), "1", "2")
    assert {seen[name] for name in ("CapEff", "CapPrm", "CapBnd", "CapAmb")} == {"0" * 16}
    mounts = [line.split() for line in Path(f"/proc/{pid}/mounts").read_text().splitlines()]
    options = {mount: set(given.split(",")) for _, mount, _, given, *_ in mounts}
    assert "ro" in options["/"]
    assert "rw" in options["/var/lib/thresher"]
    assert {"/dev", "/tmp"} <= set(options)
    assert not os.path.exists(f"/proc/{pid}/root/dev/kmsg")
    credential = Path(f"/proc/{pid}/root/run/credentials/{unit_launcher.AGENT}/broker-password")
    assert credential.read_text() == "secret\n"
    assert limits(pid) == (int(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") * 0.8) // 4096, 256)
    (worker,) = unit.workers()
    inside = status(worker.pid)
    assert (inside["Uid"], inside["NoNewPrivs"], inside["Seccomp"]) == (str(AGENT_UID), "1", "2")
    assert int(inside["Seccomp_filters"]) == int(seen["Seccomp_filters"]) + 1


def limits(pid: int) -> tuple[int, int]:
    """Return what the cgroup of a process allows: memory [pages], tasks."""
    groups = dict(line.split(":", 2)[1:] for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines())
    if (v2 := unit_launcher.CGROUPS / groups[""].lstrip("/") / "memory.max").exists():
        memory, tasks = v2, v2.with_name("pids.max")
    else:
        memory = unit_launcher.CGROUPS / "memory" / groups["memory"].lstrip("/") / "memory.limit_in_bytes"
        tasks = unit_launcher.CGROUPS / "pids" / groups["pids"].lstrip("/") / "pids.max"
    return int(memory.read_text()) // 4096, int(tasks.read_text())


@pytest.mark.alone
def test_a_killed_agent_serves_the_same_bundle_again_in_under_five_seconds(launch: Launch) -> None:
    unit = launch()
    unit.wait("a prediction", lambda: served_after(unit, 0.0))
    took_s = killed_and_back_s(unit)
    if took_s >= BACK_WITHIN_S:  # a requirement, and this host may have been busy
        took_s = killed_and_back_s(unit)
    print(f"killed while serving, and serving again after {took_s:.2f} s")
    assert took_s < BACK_WITHIN_S


def killed_and_back_s(unit: UnitLauncher) -> float:
    """SIGKILL the agent while it serves; return how long its first prediction thereafter took."""
    pid = unit.main_pid()
    killed_s = time.time()
    os.kill(pid, signal.SIGKILL)
    unit.main_pid(other_than=pid)
    again: dict[str, Any] = unit.wait("a prediction after the kill", lambda: served_after(unit, killed_s + 0.5))
    assert again["bundle"] == BUNDLE.ref.digest
    return float(again["at_s"]) - killed_s


def test_a_stuck_agent_is_started_again_by_the_watchdog(launch: Launch) -> None:
    unit = launch(watchdog_s=3.0)
    pid = unit.main_pid()
    os.kill(pid, signal.SIGSTOP)
    stopped_s = time.time()
    unit.main_pid(other_than=pid)
    again: dict[str, Any] = unit.wait("a prediction", lambda: served_after(unit, stopped_s + 3.0))
    assert again["bundle"] == BUNDLE.ref.digest
    assert not Path(f"/proc/{pid}").exists()


def test_workers_get_a_user_of_their_own(launch: Launch) -> None:
    workers = {"workers": {"user": "thresher-worker", "sandbox": "best_effort"}}
    unit = launch(workers, drop_ins=("workers",))
    unit.wait("a prediction", lambda: served_after(unit, 0.0))
    (worker,) = unit.workers()
    seen = status(worker.pid)
    assert seen["Uid"] == str(WORKER_UID)
    assert {seen[name] for name in ("CapEff", "CapPrm", "CapAmb")} == {"0" * 16}
    took_s = killed_and_back_s(unit)
    print(f"workers with a user of their own: serving again after {took_s:.2f} s")
    worker.wait(10)  # it died with its agent


@pytest.mark.long
def test_the_controller_is_ready_and_shows_life_under_its_unit(tmp_path: Path) -> None:
    folder = Path(tempfile.mkdtemp(prefix="unit-"))
    folder.chmod(0o755)
    with EmbeddedBroker(folder=tmp_path / "broker") as broker:
        variables = f"THRESHER_BROKER_PORT={broker.port}"
        name = unit_launcher.CONTROLLER
        with UnitLauncher(folder, {}, None, unit=name, variables=variables, watchdog_s=2.0) as unit:
            unit.wait("the controller to be ready", lambda: unit.state(name).get("ActiveState") == "active")
            before = unit.state(name)
            time.sleep(5.0)  # more than two lives of the watchdog
            assert unit.state(name) == before
            assert before["NRestarts"] == "0"
    shutil.rmtree(folder)
