"""A real agent against a real broker (the embedded one), commanded by a controller in miniature."""

import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from benchmarks.common import child_environment, command_line
from benchmarks.footprint_parts.processes import child_running
from controller.broker.embedded import EmbeddedBroker
from tests.e2e.lone_controller import LoneController, Packed, agent_document
from wire.device_state import State

SETTLE_S = 3.0
STOP_S = 15
GATEWAY, WORKER = "agent.gateway.main", "agent.serve.worker"


@dataclass
class Device:
    """A running agent and what commands it."""

    folder: Path
    controller: LoneController
    process: "subprocess.Popen[bytes]"
    started_s: float

    @property
    def pid(self) -> int:
        return self.process.pid

    def commit(self, gen: int, bundle: Packed) -> None:
        """Have the device run `bundle`, and wait until it has settled.

        Raises:
            AssertionError: It did not get there.
        """
        self.controller.desired(gen, bundle)
        self.controller.state(State.COMMITTED, gen)
        time.sleep(SETTLE_S)

    def child(self, module: str) -> int:
        """Return the process id of the agent's child that runs `module`.

        Raises:
            AssertionError: There is none.
        """
        found = child_running(self.pid, module)
        if found is None:
            raise AssertionError(f"no child of the agent runs {module}")
        return found


@contextmanager
def device(*bundles: Packed, **settings: Any) -> Iterator[Device]:
    """Run an agent with a state folder of its own; it is ended by SIGTERM.

    Args:
        bundles: What the controller can send.
        settings: Keys of the agent's file, over those of the tests.
    """
    with tempfile.TemporaryDirectory(prefix="thresher-footprint-") as name:
        folder = Path(name)
        with EmbeddedBroker(folder=folder / "broker") as broker, controlling(broker.port, *bundles) as controller:
            document = agent_document(broker.port, folder, controller, **settings)
            with running(folder, document) as process:
                yield Device(folder, controller, process, time.monotonic())


@contextmanager
def controlling(port: int, *bundles: Packed) -> Iterator[LoneController]:
    """Command one device, and listen to it."""
    controller = LoneController(port, *bundles)
    try:
        yield controller
    finally:
        controller.close()


@contextmanager
def running(folder: Path, document: dict[str, Any]) -> Iterator["subprocess.Popen[bytes]"]:
    """Run `agent run` with a configuration of its own."""
    config = folder / "agent.yaml"
    config.write_text(yaml.safe_dump(document))
    with (folder / "agent.log").open("ab") as log:
        command = [*command_line("agent"), "run", "--config", str(config)]
        process = subprocess.Popen(command, stdout=log, stderr=log, env=child_environment(), cwd=folder)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
