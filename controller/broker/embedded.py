"""An MQTT 5 broker for one machine, in a child process, in memory, on loopback.

Decides: the port, the child's life, when it is ready. Leaves out: durability. What was retained is lost with the
process; the controller publishes it again and the devices ask for it.

    with EmbeddedBroker(folder=Path(".thresher/broker")) as broker:
        connect("127.0.0.1", broker.port)
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from controller.broker.settings import EmbeddedSettings, embedded_toml
from controller.errors import BrokerUnreachable

READY_TIMEOUT_S = 15.0
STOP_TIMEOUT_S = 5.0
_POLL_S = 0.02


class EmbeddedBroker:
    """A broker child. The thread that starts it must outlive it: the kernel ends the child with that thread."""

    def __init__(
        self,
        port: int = 0,
        folder: Path | None = None,
        *,
        host: str = "127.0.0.1",
        logins: Mapping[str, str] | None = None,
    ) -> None:
        """Choose the port (0: a free one, kept over restarts) and the folder for the configuration and the log.

        Raises:
            ConfigurationError: A host that is not loopback: this broker has no topic permissions.
        """
        self.settings = EmbeddedSettings(port or free_port(), host, dict(logins or {}))
        self.folder = (folder or Path(".thresher") / "broker").resolve()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def port(self) -> int:
        return self.settings.port

    @property
    def host(self) -> str:
        return self.settings.host

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self, timeout_s: float = READY_TIMEOUT_S) -> Self:
        """Start the child and wait until it answers.

        Raises:
            BrokerUnreachable: The port is taken, or the child ended or did not answer within `timeout_s`.
        """
        if self.is_running:
            return self
        if answers(self.host, self.port):
            raise BrokerUnreachable(f"port {self.port} on {self.host} is already in use: choose another --port")
        self._process = self._spawn()
        deadline = time.monotonic() + timeout_s
        while not answers(self.host, self.port):
            if not self.is_running or time.monotonic() > deadline:
                self.stop()
                raise BrokerUnreachable(f"the embedded broker did not come up: see {self.folder / 'broker.log'}")
            time.sleep(_POLL_S)
        return self

    def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """End the child. Safe to call twice."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.poll() is None:
            process.terminate()
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def kill(self) -> None:
        """End the child as a power cut would (for tests of what survives it)."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def restart(self) -> Self:
        """Stop and start on the same port: everything retained is gone."""
        self.stop()
        return self.start()

    def wait(self) -> int:
        """Block until the child ends and return its exit code."""
        return self._process.wait() if self._process else 0

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _spawn(self) -> subprocess.Popen[bytes]:
        self.folder.mkdir(parents=True, exist_ok=True)
        config = self.folder / "embedded.toml"
        # The file may hold logins.
        with open(os.open(config, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as stream:
            stream.write(embedded_toml(self.settings))
        command = [sys.executable, "-m", "controller.broker.child", str(config), str(os.getpid())]
        with (self.folder / "broker.log").open("ab") as log:
            # A session of its own: Ctrl-C at the terminal ends the command first, the broker afterwards.
            return subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, env=_environment()
            )


def free_port(host: str = "127.0.0.1") -> int:
    """Return a TCP port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def answers(host: str, port: int, timeout_s: float = 0.5) -> bool:
    """Say whether something accepts TCP connections there."""
    try:
        with socket.create_connection((host, port), timeout=timeout_s):
            return True
    except OSError:
        return False


def _environment() -> dict[str, str]:
    # The child imports this package by name: make sure that it can, from a checkout too.
    root = str(Path(__file__).resolve().parents[2])
    path = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": root + (os.pathsep + path if path else "")}
