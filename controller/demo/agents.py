"""The demo's six devices: agents as real processes on this host, in three emulated classes of 3, 2 and 1.

Decides: in what they differ (threads, engines, memory cap), how they are started and stopped. Leaves out: what they do.
"""

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

RATE_HZ = 1.0
METRICS_INTERVAL_S = 5.0
STOP_TIMEOUT_S = 15.0
MIB = 1024 * 1024


@dataclass(frozen=True)
class Board:
    """What a class of the demo's devices is allowed: the emulation."""

    label: str
    threads: int
    engines: tuple[str, ...]
    memory_cap_bytes: int | None = None


BOARDS = {
    "a": Board("a", 1, ("onnxruntime",)),
    "b": Board("b", 2, ("onnxruntime", "litert")),
    "c": Board("c", 1, ("onnxruntime", "litert"), 1024 * MIB),
}
DEVICES = {"barn-1": "a", "barn-2": "a", "barn-3": "a", "field-1": "b", "field-2": "b", "pump-1": "c"}
"""Device -> its board."""


@dataclass(frozen=True)
class Connection:
    """What every agent is told of the controller."""

    fleet: str
    host: str
    port: int
    trusted_keys: Mapping[str, str]


def write_configs(folder: Path, connection: Connection) -> dict[str, Path]:
    """Write each device's configuration and return device -> its file. What agents kept from an earlier run stays."""
    files = {}
    for device, board in DEVICES.items():
        place = folder / "agents" / device
        place.mkdir(parents=True, exist_ok=True)
        files[device] = place / "agent.yaml"
        files[device].write_text(yaml.safe_dump(_config(folder, device, BOARDS[board], connection), sort_keys=False))
    return files


def _config(folder: Path, device: str, board: Board, connection: Connection) -> dict[str, object]:
    return {
        "fleet": connection.fleet,
        "device": device,
        "broker": {"host": connection.host, "port": connection.port, "keepalive_s": 15, "will_delay_s": 2},
        "state_dir": str(folder / "agents" / device / "state"),
        "trusted_keys": dict(connection.trusted_keys),
        "labels": {"board": board.label},
        "threads": board.threads,
        "engines_allowed": list(board.engines),
        "memory_cap_bytes": board.memory_cap_bytes,
        "emulated": True,
        "metrics_interval_s": METRICS_INTERVAL_S,
        "host_lock": str(folder / "host.lock"),
        "cache_dir": str(kernel_cache()),
        "serve": {"source": {"kind": "replay", "rate_hz": RATE_HZ}},
    }


def kernel_cache() -> Path:
    """Return the user's own cache: the agents share it with the workers that evaluate on the host."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "thresher"


class Agents:
    """Agent processes; they end with this process, however it ends. Use it as a context."""

    def __init__(self, configs: Mapping[str, Path]) -> None:
        self._configs = dict(configs)
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> "Agents":
        for device in self._configs:
            self.start(device)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pids(self) -> dict[str, int]:
        """Device -> process id."""
        return {device: process.pid for device, process in self._processes.items()}

    def start(self, device: str) -> None:
        """Start one device's agent; its output goes to `agent.log` beside its configuration."""
        config = self._configs[device]
        command = agent_command(["agent", "run", "--config", str(config)])
        with (config.parent / "agent.log").open("ab") as log:
            # A session of its own: Ctrl-C ends the demo first, and the demo ends its agents.
            self._processes[device] = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, env=environment()
            )

    def ended(self) -> dict[str, int]:
        """Return the agents that have ended by themselves, with their exit codes."""
        codes = {device: process.poll() for device, process in self._processes.items()}
        return {device: code for device, code in codes.items() if code is not None}

    def stop(self) -> None:
        """End all agents, by process id: first asked, then killed."""
        for process in self._processes.values():
            if process.poll() is None:
                process.terminate()
        deadline = time.monotonic() + STOP_TIMEOUT_S
        for process in self._processes.values():
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._processes.clear()


def agent_command(arguments: Sequence[str]) -> list[str]:
    """Return the command that runs a module of the agent with this Python, tied to this process."""
    leash = [sys.executable, "-m", "controller.demo.leash", str(os.getpid())]
    return [*leash, sys.executable, "-m", *arguments]


def environment() -> dict[str, str]:
    """Return the agents' environment: the packages of this checkout first, and none of the controller's variables."""
    root = str(Path(__file__).resolve().parents[2])
    path = os.environ.get("PYTHONPATH")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("THRESHER_")}
    return {**kept, "ORT_DISABLE_TELEMETRY": "1", "PYTHONPATH": root + (os.pathsep + path if path else "")}
