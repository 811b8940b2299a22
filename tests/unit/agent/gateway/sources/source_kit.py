"""What tests of sources share: an intake that records, a clock that waits for nobody, links, a broker."""

import asyncio
import getpass
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from agent.gateway.base import Clock, DataLink, Outcome, Query, Surroundings
from controller.broker.embedded import answers, free_port

ANSWERED = Outcome(answers=({"classes": [1], "labels": ["oak"], "values": [0.9]},))
PATIENCE_S = 30.0


@dataclass
class Intake:
    """Answers as the test says; keeps what it was offered."""

    answer: Callable[[Query], Outcome] = lambda _: ANSWERED
    queries: list[Query] = field(default_factory=list)
    refusals: list[tuple[str, str]] = field(default_factory=list)
    room: int = 1_000

    def offer(self, query: Query) -> "asyncio.Future[Outcome]":
        self.queries.append(query)
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        future.set_result(self.answer(query))
        return future

    def refuse(self, reason: str, detail: str = "") -> None:
        self.refusals.append((reason, detail))

    @property
    def reasons(self) -> dict[str, int]:
        return dict(Counter(reason for reason, _ in self.refusals))

    def origins(self, name: str) -> list[Any]:
        return [query.origin[name] for query in self.queries]


class PlayedClock:
    """Time that passes only while somebody sleeps, and as `stall` says."""

    def __init__(self, at_s: float = 1_700_000_000.0) -> None:
        self.at_s = at_s
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.at_s += seconds
        await asyncio.sleep(0)

    def stall(self, seconds: float) -> None:
        self.at_s += seconds

    def clock(self) -> Clock:
        return Clock(lambda: self.at_s, lambda: self.at_s, self.sleep)


class NoLink:
    """A link for sources that need none."""

    def subscribe(self, topic: str, qos: int, heard: Callable[[str, bytes], None]) -> Callable[[], None]:
        raise AssertionError(f"{topic} {qos} {heard}")

    async def publish(self, topic: str, payload: bytes, qos: int, retain: bool) -> None:
        raise AssertionError(f"{topic} {payload!r} {qos} {retain}")


class DirectLink(NoLink):
    """A link whose messages come from the test."""

    def __init__(self) -> None:
        self.heard: dict[str, Callable[[str, bytes], None]] = {}

    def subscribe(self, topic: str, qos: int, heard: Callable[[str, bytes], None]) -> Callable[[], None]:
        assert qos == 1
        self.heard[topic] = heard
        return lambda: self.heard.__delitem__(topic)


def surroundings(
    folder: Path,
    *,
    clock: Clock | None = None,
    link: DataLink | None = None,
    golden: Callable[[], Path | None] = lambda: None,
) -> Surroundings:
    return Surroundings("barn-1", "main", folder, clock or Clock(), link or NoLink(), golden, lambda _: None)


def array_of(query: Query) -> NDArray[Any]:
    assert query.encoding == "raw"
    return np.frombuffer(query.payload, query.dtype).reshape(query.shape)


def play(scene: Callable[[], Awaitable[None]]) -> None:
    """Run a test's coroutine; it never hangs."""

    async def bounded() -> None:
        async with asyncio.timeout(2 * PATIENCE_S):
            await scene()

    asyncio.run(bounded())


async def until(holds: Callable[[], object], what: str = "") -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0.01)


class Mosquitto:
    """A broker of its own on loopback; `settings` are lines of its configuration."""

    def __init__(self, folder: Path, settings: Mapping[str, str] | None = None) -> None:
        self._program = shutil.which("mosquitto") or shutil.which("/usr/sbin/mosquitto") or ""
        if not self._program:
            pytest.skip("needs Debian's package mosquitto")
        self.port = free_port()
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        given = {"user": getpass.getuser(), "allow_anonymous": "true", **(settings or {})}
        lines = [f"listener {self.port} 127.0.0.1", *(f"{name} {value}" for name, value in given.items())]
        (folder / "mosquitto.conf").write_text("\n".join(lines) + "\n", encoding="utf-8")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> "Mosquitto":
        with (self.folder / "log").open("ab") as log:
            command = [self._program, "-c", str(self.folder / "mosquitto.conf")]
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + PATIENCE_S
        while not answers("127.0.0.1", self.port):
            assert time.monotonic() < deadline, (self.folder / "log").read_text()
            time.sleep(0.02)
        return self

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(20)
            self._process = None

    async def publish(self, topic: str, *payloads: str | bytes, options: tuple[str, ...] = ()) -> None:
        """Publish with a plain `mosquitto_pub`, each payload in a message of its own."""
        command = ["mosquitto_pub", "-p", str(self.port), "-V", "mqttv5", "-q", "1", "-t", topic, *options]
        for payload in payloads:
            content = payload.encode() if isinstance(payload, str) else payload
            stdin = asyncio.subprocess.PIPE
            sender = await asyncio.create_subprocess_exec(*command, "-s", stdin=stdin)
            await sender.communicate(content)
            assert sender.returncode == 0
