"""What the serving benchmark measures on: two int8 bundles of the reference model, and a real agent with a Unix socket.

Decides: settings, and how an application is run beside it. Leaves out: what is done and what the numbers mean.
"""

import json
import math
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import child_environment, command_line, repository
from benchmarks.footprint_parts.bundles import CHUNK_BYTES, Int8Bundle
from benchmarks.footprint_parts.running import Device, device
from benchmarks.load.client import Asked, Order
from tests.e2e.lone_controller import Packed, pack
from wire.device_state import State

QUEUE = 2000
"""Queries that may wait while no worker is there: ten seconds' worth at the rate of this benchmark."""
CONNECTIONS = 32
PATIENCE_S = 60.0


@dataclass(frozen=True)
class Body:
    """A query as an application sends it, and as the gateway hands it on."""

    content: bytes
    content_type: str
    parameters: str
    header: dict[str, Any]


def raw_body(bundle: Int8Bundle) -> Body:
    """Return one of the bundle's golden queries as plain numbers."""
    query = np.load(bundle.folder / "golden" / "inputs.npy", allow_pickle=False)[0].astype(np.float64)
    shape = ",".join(map(str, query.shape))
    header = {"encoding": "raw", "dtype": "float64", "shape": list(query.shape), "batch": False}
    return Body(query.tobytes(), "application/octet-stream", f"?dtype=float64&shape={shape}", header)


def renamed(bundle: Int8Bundle, name: str) -> Packed:
    """Return the same bundle under another name, so with another digest."""
    manifest = bundle.packed.manifest
    contents = [(bundle.folder / each.path).read_bytes() for each in manifest.files]
    return pack(manifest.model_copy(update={"variant": name}), contents, CHUNK_BYTES)


def warm(cache: Path) -> Path:
    """Compile the kernels below `cache`, as an installation does, and return it.

    Raises:
        subprocess.CalledProcessError: They cannot be compiled.
    """
    command = [*command_line("agent"), "warm", "--cache-dir", str(cache)]
    subprocess.run(command, check=True, capture_output=True, env=child_environment(), cwd=repository())
    return cache


@contextmanager
def serving(folder: Path, cache: Path, *bundles: Packed, **settings: Any) -> Iterator[Device]:
    """Run an agent that serves the first of `bundles` to applications on `folder`/agent.sock.

    Raises:
        AssertionError: It did not get there.
    """
    socket = folder / "agent.sock"
    workload = {"source": {"kind": "none"}, "queue": {"policy": "queue", "size": QUEUE}}
    serve = {"socket": str(socket), "workloads": {"main": workload}}
    with device(*bundles, serve=serve, cache_dir=str(cache), **settings) as found:
        found.commit(1, bundles[0])
        yield found


@dataclass(frozen=True)
class Change:
    """One deployment, on the monotonic clock: published, workers beginning to change over, settled [s]."""

    published_s: float
    changing_s: float
    settled_s: float
    digest: str


def deploy(site: Device, gen: int, bundle: Packed) -> Change:
    """Have the device go over to `bundle`, and wait until it has committed it.

    Raises:
        AssertionError: It did not get there.
    """
    published_s = time.monotonic()
    site.controller.desired(gen, bundle)
    site.controller.state(State.SWITCH, gen)
    changing_s = time.monotonic()
    site.controller.state(State.COMMITTED, gen)
    return Change(published_s, changing_s, time.monotonic(), bundle.ref.digest)


class Running:
    """An application in a process of its own."""

    def __init__(self, folder: Path, body: Body, rate_hz: float, seconds: float, connections: int) -> None:
        """Start it; it asks the workload `main` on `folder`/agent.sock."""
        (folder / "body").write_bytes(body.content)
        self._result = folder / "asked.json"
        order = Order(
            socket=str(folder / "agent.sock"),
            target=f"/v1/workloads/main/predict{body.parameters}",
            content_type=body.content_type,
            body_path=str(folder / "body"),
            result_path=str(self._result),
            rate_hz=rate_hz,
            seconds=seconds,
            connections=connections,
        )
        (folder / "order.json").write_text(json.dumps(asdict(order)))
        command = [sys.executable, "-m", "benchmarks.load.client", str(folder / "order.json")]
        environment = child_environment()
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, env=environment, cwd=repository())

    def stop(self) -> list[Asked]:
        """Have it ask nothing more, and return what became of its queries, in the order in which they were due."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.wait()

    def wait(self) -> list[Asked]:
        """Return what became of its queries once its time is over.

        Raises:
            AssertionError: It failed.
        """
        code = self.process.wait(PATIENCE_S)
        if code != 0:
            raise AssertionError(f"the application ended with {code}")
        return sorted((Asked(**each) for each in json.loads(self._result.read_text())), key=lambda each: each.due_s)


def quantile_ms(asked: Sequence[Asked], fraction: float) -> float:
    """Return the latency within which `fraction` of the queries were answered, by the nearest rank [ms].

    Raises:
        ValueError: There are none.
    """
    if not asked:
        raise ValueError("no query was asked")
    ordered = sorted(each.latency_s for each in asked)
    return ordered[math.ceil(len(ordered) * fraction) - 1] * 1e3


def lost(asked: Sequence[Asked]) -> dict[str, int]:
    """Return what queries were answered with other than a prediction, and how often."""
    found: dict[str, int] = {}
    for each in asked:
        if each.status != 200:
            found[f"{each.status} {each.said}"] = found.get(f"{each.status} {each.said}", 0) + 1
    return found
