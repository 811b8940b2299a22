"""A whole fleet on this host for tests: the embedded broker, real agent processes, the real controller service.

Decides: how it is put up and watched. Leaves out: what is asserted.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
import yaml

from controller.broker.embedded import EmbeddedBroker
from controller.bundle.artifacts import ArtifactStore
from controller.keys import SigningKey, create_key
from controller.mqtt import BrokerSettings
from controller.rollout.policy import GatePolicy, RolloutPolicy, Wave
from controller.rollout.spec import Member, RolloutSpec
from controller.rollout.view import Phase
from controller.service import Service
from controller.store import rollouts
from controller.store.database import Store
from controller.workspace import Workspace
from tests.e2e.watcher import FLEET, Watcher
from wire.base import encode
from wire.device_state import TERMINAL, State
from wire.envelope import seal
from wire.topics import Topics
from wire.update import Desired

ROOT = Path(__file__).resolve().parents[2]


class AgentProcess:
    """One agent: `python -m agent run`, started, killed and started again on the same state folder.

    `python`: of another environment than the tests', for engines that stand there.
    """

    def __init__(self, folder: Path, document: Mapping[str, Any], python: Path | None = None) -> None:
        self.folder = folder
        self.python = python or Path(sys.executable)
        self.device = str(document["device"])
        self.config = folder / "agent.yaml"
        self.state_dir = folder / "state"
        folder.mkdir(parents=True, exist_ok=True)
        self.config.write_text(yaml.safe_dump({**document, "state_dir": str(self.state_dir)}, sort_keys=False))
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> "AgentProcess":
        assert self.process is None
        command = [str(self.python), "-m", "agent", "run", "--config", str(self.config)]
        with (self.folder / "agent.log").open("ab") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, env=environment()
            )
        return self

    def ensure_started(self) -> None:
        """Start it unless it runs."""
        if self.process is None:
            self.start()

    def kill(self) -> None:
        """SIGKILL: nothing is said, nothing is tidied up."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        self.process = None

    def kill_in(self, state: State, gen: int, workload: str = "main", patience_s: float = 60.0) -> bool:
        """SIGKILL the agent as soon as `state` of generation `gen` lies on its disk; return whether it lay there still.

        The state is saved before its work starts. A short state may be over before it is seen or before the signal
        arrives: then False, and where the generation had ended already, the agent lives on.
        """
        assert self.process is not None
        path = self.state_dir / "workloads" / workload / "state.json"
        deadline = time.monotonic() + patience_s
        while (saved := _saved(path)) != (state.value, gen):
            if saved[1] == gen and State(saved[0]) in TERMINAL:
                return False
            assert time.monotonic() < deadline, f"{self.device} did not come to generation {gen}: {saved}"
            time.sleep(0.0005)  # leaves the core to the agent
        self.kill()
        return _saved(path) == (state.value, gen)

    def stop(self) -> None:
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None

    def children(self, module: str = "agent.serve.worker") -> list[psutil.Process]:
        """Return the agent's children that run `module`: serving workers, or the gateway."""
        assert self.process is not None
        found = psutil.Process(self.process.pid).children(recursive=True)
        return [child for child in found if _runs(child, module)]

    def worker_of(self, bundle: str) -> psutil.Process | None:
        """Return the serving worker whose order names a bundle."""
        for worker in self.children():
            orders = [Path(word) for word in worker.cmdline() if word.endswith(".json")]
            if any(bundle in order.read_text() for order in orders if order.exists()):
                return worker
        return None

    def log(self) -> str:
        path = self.folder / "agent.log"
        return path.read_text(errors="replace") if path.exists() else ""


class World:
    """Broker, workspace, keys, agents and watcher in one folder. Use it as a context."""

    def __init__(
        self,
        folder: Path,
        cache: Path,
        fleet: str = FLEET,
        *,
        broker: Any = None,
        login: tuple[str, Path] | None = None,
    ) -> None:
        """Choose the folders; `broker` stands for the embedded one, `login` is a user and a file with the password."""
        self.folder = folder
        self.fleet = fleet
        self.broker = broker or EmbeddedBroker(folder=folder / "broker")
        self._login: dict[str, Any] = {"username": login[0], "password_file": str(login[1])} if login else {}
        self.workspace = Workspace(folder / "workspace")
        self.agents: dict[str, AgentProcess] = {}
        self.cache = cache
        self._services: list[Service] = []

    def __enter__(self) -> "World":
        self.workspace.create()
        self.key: SigningKey = create_key(self.workspace.keys)
        self.artifacts = ArtifactStore(self.workspace.artifacts)
        self.broker.start()
        self.watcher = Watcher(self.broker.port, self.fleet, self._login)
        return self

    def __exit__(self, *_: object) -> None:
        for agent in self.agents.values():
            agent.stop()
        for service in self._services:
            service.stop()
        self.watcher.close()
        self.broker.stop()

    def agent(self, device: str, *, start: bool = True, python: Path | None = None, **changes: Any) -> AgentProcess:
        """Add a device; `changes` are laid over its configuration."""
        document: dict[str, Any] = {
            "fleet": self.fleet,
            "device": device,
            "broker": {
                "host": "127.0.0.1",
                "port": self.broker.port,
                "keepalive_s": 5,
                "will_delay_s": 1,
                **self._login,
            },
            "trusted_keys": self.key.trusted_keys,
            "labels": {"board": "a"},
            "engines_allowed": ["onnxruntime", "litert"],
            "emulated": True,
            "metrics_interval_s": 1.0,
            "host_lock": str(self.folder / "host.lock"),
            "cache_dir": str(self.cache),  # kernels are compiled once for all tests
            "serve": {"source": {"kind": "replay", "rate_hz": 10.0}},
            **changes,
        }
        agent = AgentProcess(self.folder / "agents" / device, document, python)
        self.agents[device] = agent
        if start:
            agent.start()
            self.online(device)
        return agent

    def online(self, *devices: str) -> None:
        self.watcher.wait(
            f"{', '.join(devices)} to come online", lambda: all(self.watcher.presence.get(each) for each in devices)
        )

    def service(self) -> Service:
        """Start a controller service on this workspace; it is stopped with the world, or earlier by the test."""
        settings = BrokerSettings(host="127.0.0.1", port=self.broker.port, **self._login)
        service = Service(self.workspace, settings, [self.fleet])
        self._services.append(service)
        service.__enter__()
        return service

    def rollout(
        self,
        service: Service,
        bundle: str,
        devices: Sequence[str],
        *,
        workload: str = "main",
        policy: RolloutPolicy | None = None,
        nonce: str = "",
    ) -> str:
        """Start a rollout of one bundle to `devices`, all of one class."""
        members = tuple(Member(device, "only", bundle) for device in devices)
        spec = RolloutSpec(self.fleet, workload, policy or quick_policy(), members, retry_nonce=nonce, actor="test")
        return service.start_rollout(spec)

    def phase(self, service: Service, rollout: str, *phases: Phase) -> Phase:
        """Wait until a rollout is in one of `phases` and return it."""

        return self._wait_phase(service.store, rollout, *phases)

    def _wait_phase(self, store: Store, rollout: str, *phases: Phase) -> Phase:
        def now() -> Phase | None:
            with store.read() as session:
                phase = Phase(rollouts.get(session, rollout).state)
            return phase if phase in phases else None

        phase: Phase = self.watcher.wait(f"rollout {rollout} to be {'/'.join(phases)}", now)
        return phase

    def phase_from_disk(self, rollout: str, *phases: Phase) -> None:
        """Wait like `phase`, for a controller that runs in another process."""
        store = Store.open(self.workspace)
        try:
            self._wait_phase(store, rollout, *phases)
        finally:
            store.close()

    def serving_workers(self, agent: AgentProcess) -> list[int]:
        """Return the process ids of an agent's serving workers."""
        return [child.pid for child in agent.children()]

    def kill_serving_worker(self, agent: AgentProcess) -> None:
        """Kill a serving worker as the kernel's out-of-memory killer would."""
        worker = self.watcher.wait("a serving worker", lambda: self.serving_workers(agent))[-1]
        os.kill(worker, signal.SIGKILL)

    def send(self, desired: Desired, *, key: SigningKey | None = None, topic: str | None = None) -> None:
        """Publish a desired document past the controller, signed with `key` (the fleet's own by default)."""
        key = key or self.key
        envelope = seal("desired", desired, key.key_id, key.sign)
        topic = topic or Topics(self.fleet).desired(desired.device, desired.workload)
        self.watcher.publish(topic, encode(envelope), retain=True)

    def desired(self, device: str, bundle: str, gen: int, **changes: Any) -> Desired:
        """Return a desired document as the controller would write it."""
        fields: dict[str, Any] = {
            "fleet": self.fleet,
            "device": device,
            "workload": "main",
            "gen": gen,
            "epoch": 1,
            "action": "run",
            "bundle": self.artifacts.ref(bundle),
            "format": "onnx",
            "engine": "onnxruntime",
            "probation_s": 1.0,
            "issued_s": time.time(),
            "expires_s": time.time() + 86400,
            **changes,
        }
        return Desired(**fields)


class ServeProcess:
    """`controller serve` in a process of its own, so that it can be killed."""

    def __init__(self, world: World) -> None:
        file = world.folder / "fleet.yaml"
        broker = {"host": "127.0.0.1", "port": world.broker.port}
        classes = [{"name": "only", "match": {"labels": {"board": "a"}}}]
        workloads = {
            "main": {
                "model": str(ROOT / "models" / "leaf_outline"),
                "recipes": ["float32"],
                "goals": {"max_accuracy_drop_ratio": 0.03},
            }
        }
        document = {"version": 1, "fleet": world.fleet, "broker": broker, "classes": classes, "workloads": workloads}
        file.write_text(yaml.safe_dump(document))
        command = [sys.executable, "-m", "controller", "--workspace", str(world.workspace.root), "serve"]
        with (world.folder / "serve.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "--fleet", world.fleet, "--config", str(file)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env=environment(),
            )

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


def _saved(path: Path) -> tuple[str, int]:
    """Return state and generation as they lie on the disk."""
    try:
        found = json.loads(path.read_bytes())
    except OSError:
        return State.IDLE.value, 0  # not there yet
    return found["state"], found["gen"]


def _runs(process: psutil.Process, module: str) -> bool:
    try:
        return module in process.cmdline()
    except psutil.Error:
        return False


def quick_policy(*waves: Wave, **changes: Any) -> RolloutPolicy:
    """Return a policy with short times; by default one wave."""
    fields: dict[str, Any] = {
        "waves": waves or (Wave(ratio=1.0),),
        "soak_s": 0.5,
        "probation_s": 1.5,
        "gate": GatePolicy(timeout_s=60.0),
        "deadline_s": 60.0,
        "silence_s": 45.0,
        "rollback_s": 45.0,
        **changes,
    }
    return RolloutPolicy(**fields)


def environment() -> dict[str, str]:
    """Return the environment of child processes: this checkout first."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("THRESHER_")}
    return {**kept, "ORT_DISABLE_TELEMETRY": "1", "PYTHONPATH": str(ROOT)}
