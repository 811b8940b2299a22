"""`simulator run` as it is typed, with a real broker and a real controller: rollouts, faults, a deploy, metrics."""

import json
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from agent.serve.settings import BrokerConfig
from controller.broker.embedded import EmbeddedBroker, free_port
from controller.keys import load_key
from controller.mqtt import BrokerSettings
from controller.rollout.policy import GatePolicy
from controller.rollout.view import IN_WAVE, Phase
from controller.service import Service
from controller.store import rollouts
from controller.workspace import Workspace
from simulator.classes import SHIPPED
from simulator.device.site import Settings
from simulator.site import fleet as local_fleet
from tests.e2e.service_kit import FLEET, add_bundle, make_workspace, spec, wait_until
from tests.e2e.watcher import Watcher
from tests.e2e.world import ROOT, environment

pytestmark = pytest.mark.e2e

PATIENCE_S = 60.0


class Simulator:
    """`simulator run` in a process of its own."""

    def __init__(self, broker: EmbeddedBroker, workspace: Workspace, *options: str, fleet: str = FLEET) -> None:
        command = [sys.executable, "-m", "simulator", "run", "--json", "--fleet", fleet, "--speed", "20"]
        command += ["--trust", str(workspace.root / "trusted-keys.yaml"), "--broker", f"mqtt://127.0.0.1:{broker.port}"]
        self.process = subprocess.Popen(
            [*command, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(), cwd=ROOT
        )

    def end(self) -> dict[str, Any]:
        """Interrupt it and return its summary."""
        self.process.send_signal(signal.SIGINT)
        out, err = self.process.communicate(timeout=PATIENCE_S)
        assert self.process.returncode == 0, err
        summary: dict[str, Any] = json.loads(out)
        return summary


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker(folder=tmp_path / "broker") as running:
        yield running


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    made = make_workspace(tmp_path / "workspace")
    (made.root / "trusted-keys.yaml").write_text(yaml.safe_dump(load_key(made.keys).trusted_keys), encoding="utf-8")
    return made


@pytest.fixture
def simulate(broker: EmbeddedBroker, workspace: Workspace) -> Iterator[Callable[..., Simulator]]:
    started: list[Simulator] = []

    def start(*options: str, **named: str) -> Simulator:
        started.append(Simulator(broker, workspace, *options, **named))
        return started[-1]

    yield start
    for each in started:
        if each.process.poll() is None:
            each.process.kill()
            each.process.communicate()


def online(service: Service, fleet: str = FLEET) -> list[str]:
    return [view.device for view in service.devices(fleet) if view.online]


def phase_of(service: Service, rollout: str) -> Phase:
    with service.store.read() as session:
        return Phase(rollouts.get(session, rollout).state)


def ended(service: Service, rollout: str) -> Phase:
    resting = set(Phase) - IN_WAVE - {Phase.DRAFT, Phase.PLANNED, Phase.ROLLING_BACK}
    wait_until(lambda: phase_of(service, rollout) in resting, PATIENCE_S, "the rollout rests")
    return phase_of(service, rollout)


def test_devices_come_and_go_as_agents_do(
    broker: EmbeddedBroker, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_fleet, "TELL_EVERY_S", 0.05)
    monkeypatch.setattr(local_fleet, "GOODBYE_S", 0.3)
    keys = dict(load_key(workspace.keys).trusted_keys)
    settings = Settings(FLEET, 5, keys, broker=BrokerConfig(port=broker.port, keepalive_s=5), connects_hz=1000.0)
    watcher = Watcher(broker.port, FLEET)
    try:
        fleet = local_fleet.LocalFleet(settings, SHIPPED, range(5), lambda counts: counts.connected < 5)
        counts = fleet.run(PATIENCE_S)
        assert (counts.connected, counts.failed_connections, counts.sent) == (5, 0, 15)
        watcher.wait("the goodbyes", lambda: list(watcher.presence.values()) == [False] * 5)
        assert sorted(watcher.presence) == [f"sim-{number:05d}" for number in range(5)]
    finally:
        watcher.close()


@pytest.mark.long
def test_a_rollout_in_two_processes_and_its_summary(
    broker: EmbeddedBroker, workspace: Workspace, simulate: Callable[..., Simulator]
) -> None:
    with Service(workspace, BrokerSettings(port=broker.port), [FLEET]) as service:
        simulator = simulate("--devices", "30", "--processes", "2", "--rate", "10")
        wait_until(lambda: len(online(service)) == 30, PATIENCE_S, "all are online")
        assert all(view.inventory is not None and view.inventory.simulated for view in service.devices(FLEET))
        bundle = add_bundle(workspace, "first")
        rollout = service.start_rollout(spec(bundle, online(service), deadline_s=60.0))
        assert ended(service, rollout) is Phase.COMPLETED
        attested = {view.workload("main").active for view in service.devices(FLEET)}
        assert attested == {bundle.digest}
        summary = simulator.end()
        wait_until(lambda: not online(service), PATIENCE_S, "all have said goodbye")
    assert (summary["devices"], summary["connected"], summary["states"]) == (30, 30, {"committed": 30})
    assert summary["downloads"] == 30
    assert summary["received_bytes"] > 30 * 250_000  # the chunks came over the broker, to every device
    assert summary["refused"] == 0


@pytest.mark.long
def test_devices_that_fail_stop_a_rollout_and_those_that_flap_do_not(
    broker: EmbeddedBroker, workspace: Workspace, simulate: Callable[..., Simulator]
) -> None:
    with Service(workspace, BrokerSettings(port=broker.port), [FLEET]) as service:
        simulate("--devices", "10", "--failing", "1", "--prefix", "bad-")
        simulate("--devices", "10", "--flapping", "1", "--prefix", "shaky-")
        wait_until(lambda: len(online(service)) == 20, PATIENCE_S, "all are online")
        bad = [each for each in online(service) if each.startswith("bad-")]
        shaky = [f"shaky-{number:05d}" for number in range(10)]
        first = service.start_rollout(spec(add_bundle(workspace, "first"), bad))
        assert ended(service, first) is Phase.ROLLED_BACK
        bundle = add_bundle(workspace, "second")
        patient = {"deadline_s": 60.0, "silence_s": 60.0, "gate": GatePolicy(timeout_s=60.0)}
        second = service.start_rollout(spec(bundle, shaky, **patient))
        assert ended(service, second) in (Phase.COMPLETED, Phase.COMPLETED_WITH_STRAGGLERS)


@pytest.mark.long
@pytest.mark.alone
@pytest.mark.timeout(600)
def test_a_deploy_to_two_hundred_simulated_devices_and_its_metrics(
    broker: EmbeddedBroker, workspace: Workspace, simulate: Callable[..., Simulator], tmp_path: Path
) -> None:
    fleet, port = "simulated", free_port()
    file = tmp_path / f"{fleet}.yaml"
    file.write_text(yaml.safe_dump(fleet_document(fleet, broker.port)), encoding="utf-8")
    command = [sys.executable, "-m", "controller", "--workspace", str(workspace.root)]
    common = ["--fleet", fleet, "--config", str(file)]
    with (tmp_path / "serve.log").open("w") as log:
        serve = subprocess.Popen(
            [*command, "serve", *common, "--http", f"127.0.0.1:{port}"], stdout=log, stderr=log, env=environment()
        )
    try:
        wait_until(lambda: read(port, "/readyz")[0] == 200, PATIENCE_S, "the service is ready")
        simulator = simulate("--devices", "200", "--rate", "20", fleet=fleet)
        wait_until(lambda: 'state="online"} 100' in read(port, "/metrics")[1], PATIENCE_S, "they are online")
        deployed = subprocess.run(
            [*command, "deploy", *common, "--yes"], capture_output=True, text=True, env=environment(), check=False
        )
        assert deployed.returncode == 0, deployed.stdout[-2000:] + deployed.stderr[-2000:]
        completed = f'thresher_deployments{{fleet="{fleet}",stage="completed",workload="main"}} 1.0'
        wait_until(lambda: completed in read(port, "/metrics")[1], PATIENCE_S, "the metrics say it, too")
        metrics = read(port, "/metrics")[1]
        assert f'thresher_devices_simulated{{fleet="{fleet}"}} 200.0' in metrics
        assert 'state="completed"' in metrics
        assert "thresher_inference_duration_seconds_bucket" in metrics
        report = json.loads(
            subprocess.run(
                [*command, "report", "latest", "--json"], capture_output=True, text=True, env=environment(), check=True
            ).stdout
        )
        assert report["deployment"]["stage"] == "completed"
        assert all(choice["emulated"] for choice in report["choices"])
        summary = simulator.end()
        assert summary["states"] == {"committed": 200}
        assert summary["trials"] >= 4  # two classes, each a control and another variant
    finally:
        serve.send_signal(signal.SIGINT)
        serve.wait(PATIENCE_S)


def fleet_document(fleet: str, port: int) -> dict[str, Any]:
    classes = [
        {"name": "small", "match": {"labels": {"simulated": "sim-small"}}},
        {"name": "rest", "match": {"soc": "simulated [lm]*"}},
    ]
    goals = {"max_accuracy_drop_ratio": 0.03, "decide_on": "point_estimate", "minimise": ["p50_ms", "wire_bytes"]}
    steps = {"waves": [{"devices": 2}, {"ratio": 1.0}], "soak_s": 1, "probation_s": 1, "deadline_s": 120}
    main = {
        "model": str(ROOT / "models" / "leaf_outline"),
        "recipes": ["float32", "int8-u8s8-percentile"],
        "goals": goals,
        "trials": {"grade": "quick", "devices_per_class": 1, "most_variants": 2},
        "rollout": steps,
    }
    broker = {"host": "127.0.0.1", "port": port}
    return {"version": 1, "fleet": fleet, "broker": broker, "classes": classes, "workloads": {"main": main}}


def read(port: int, path: str) -> tuple[int, str]:
    """Return status and body; status 0 while nobody answers."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as exc:
        return exc.code, exc.read().decode()
    except OSError:
        return 0, ""
