"""A front on real sockets with lanes of the test's making, and clients for it."""

import asyncio
import contextlib
import http.client
import json
import socket
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent.gateway.base import Outcome, Query
from agent.gateway.http.base import Described
from agent.gateway.http.server import HttpFront
from agent.serve.settings import ServeConfig

PATIENCE_S = 20.0
ANSWER = {"classes": [1, 0], "labels": ["oak", "elm"], "values": [0.75, None]}
ANSWERED = Outcome(answers=(ANSWER,), bundle="b" * 64, times_ns=(1_000_000, 2_500_000, 50_000), total_ns=4_000_000)


class ScriptedLane:
    """Answers every query with `outcome`, or with nothing while that is null."""

    def __init__(self, workload: str, outcome: Outcome | None = ANSWERED) -> None:
        self.workload = workload
        self.outcome = outcome
        self.ready = True
        self.asked: list[Query] = []
        self.futures: list[asyncio.Future[Outcome]] = []
        self.fault: Exception | None = None

    def offer(self, query: Query) -> "asyncio.Future[Outcome]":
        if self.fault is not None:
            raise self.fault
        self.asked.append(query)
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self.futures.append(future)
        if self.outcome is not None:
            future.set_result(self.outcome)
        return future

    @property
    def room(self) -> int:
        return 1

    def refuse(self, reason: str, detail: str = "") -> None:
        raise AssertionError(f"an application's input is never refused on the side: {reason} {detail}")

    def describe(self) -> Described:
        bundle = "b" * 64 if self.ready else None
        return Described(self.workload, self.ready, bundle, "leaf_outline", "int8", {"pre": {"kind": "series"}})


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket, with what Python has."""

    def __init__(self, path: Path, timeout: float = PATIENCE_S) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


@dataclass(frozen=True)
class Got:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    content: bytes

    @property
    def document(self) -> Any:
        return json.loads(self.content)


@dataclass
class Served:
    """A front that runs on a loop of its own."""

    folder: Path
    loop: asyncio.AbstractEventLoop
    front: HttpFront
    settings: ServeConfig
    lanes: dict[str, ScriptedLane]
    told: list[tuple[str, str]] = field(default_factory=list)
    seen: list[tuple[str, str, "Got"]] = field(default_factory=list)
    """Method, path and answer of everything that was asked with `ask`."""

    @property
    def lane(self) -> ScriptedLane:
        return self.lanes["main"]

    def connection(self) -> http.client.HTTPConnection:
        if self.settings.socket is not None:
            return UnixConnection(self.settings.socket)
        assert self.settings.http is not None
        return http.client.HTTPConnection("127.0.0.1", self.settings.http.port, timeout=PATIENCE_S)

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Got:
        """Send one request over a new connection; `_` in a header's name stands for `-`."""
        connection = self.connection()
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, named)
            response = connection.getresponse()
            got = Got(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
            self.seen.append((method, path, got))
            return got
        finally:
            connection.close()

    def predict(self, document: Any, workload: str = "main") -> Got:
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        return self.ask("POST", f"/v1/workloads/{workload}/predict", body, Content_Type="application/json")

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine on the front's loop."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(PATIENCE_S)

    def until(self, found: Callable[[], Any]) -> Any:
        """Wait on the loop's thread until `found` gives something true."""

        async def wait() -> Any:
            async with asyncio.timeout(PATIENCE_S):
                while not (answer := found()):
                    await asyncio.sleep(0.005)
            return answer

        return self.do(wait())


@contextlib.contextmanager
def serving(folder: Path, *, first_retry_s: float = 0.01, **settings: Any) -> Iterator[Served]:
    """Run a front with the workloads `main` and `soil`; by default on a Unix socket in `folder`."""
    if "http" not in settings:
        settings = {"socket": folder / "agent.sock", **settings}
    config = ServeConfig.model_validate(settings)
    lanes = {name: ScriptedLane(name) for name in ("main", "soil")}
    told: list[tuple[str, str]] = []
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    front = HttpFront(config, lanes, lambda reason, detail: told.append((reason, detail)), first_retry_s=first_retry_s)
    served = Served(folder, loop, front, config, lanes, told)
    try:
        served.do(front.start())
        yield served
    finally:
        served.do(front.stop())
        loop.call_soon_threadsafe(loop.stop)
        thread.join(PATIENCE_S)
        loop.close()


def free_port() -> int:
    """Return a port that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        found: int = probe.getsockname()[1]
        return found
