"""What a serving worker adds to its pipeline: both asked at the same rate, in turns, the one waiting for the other.

Decides: what is compared with what. The worker itself notes (`worker.py`) how long a query took from its last byte to
the answer and to the end of its writing, and how long its pipeline took in between: what is over is its own. The bare
pipeline in a process of its own (`pipeline.py`) says whether the worker's is as fast, and what processor time a query
takes without a worker. Leaves out: gateway and sockets.
"""

import contextlib
import json
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from agent.child import Child, Command, spawn
from agent.serve.channel import HEAD, Times, decode_answers, encode_header
from agent.serve.orders import ServeOrder
from benchmarks.common import child_environment, repository
from benchmarks.footprint_parts.bundles import Int8Bundle
from benchmarks.load.cpu import cpu_ns
from benchmarks.load.site import Body
from benchmarks.load.worker import BEFORE

MODULE = "benchmarks.load.worker"
PATIENCE_S = 60.0
SKIPPED = 10
"""First queries of a block, whose caches the other process has used."""


@dataclass(frozen=True)
class Block:
    """One stretch of queries at one rate: medians of a query, and processor time for each [ns]."""

    pipeline_ns: float
    cpu_ns: float
    made_ns: float = 0.0
    """From the query's last byte to the answer, less the pipeline's time."""
    written_ns: float = 0.0
    """The same to the end of the answer's writing."""


class Worker:
    """The agent's worker, fed by this process in the gateway's place."""

    def __init__(self, child: Child, channel: socket.socket, body: Body) -> None:
        self._child = child
        self._channel = channel
        self._frame = encode_header(body.header, len(body.content)) + body.content

    def block(self, rate_hz: float, seconds: float) -> Block:
        """Ask at `rate_hz` for `seconds`."""
        count = round(rate_hz * seconds)
        replies: list[tuple[Times, tuple[int, int]]] = []
        before_ns, due_s = cpu_ns(self._child.pid), time.monotonic()
        for _ in range(count):
            due_s += 1 / rate_hz
            time.sleep(max(0.0, due_s - time.monotonic()))
            replies.append(self._ask())
        spent_ns = cpu_ns(self._child.pid) - before_ns
        own = [sum(times_ns) for times_ns, _ in replies[SKIPPED:-1]]
        times = [before for _, before in replies[SKIPPED + 1 :]]  # each carries those of the one before
        made, written = ([each[place] - ns for each, ns in zip(times, own, strict=True)] for place in (0, 1))
        return Block(median(own), spent_ns / count, median(made), median(written))

    def _ask(self) -> tuple[Times, tuple[int, int]]:
        self._channel.sendall(self._frame)
        header_bytes, payload_bytes = HEAD.unpack(self._exactly(HEAD.size))
        if header_bytes:
            raise AssertionError(f"the worker did not answer: {self._exactly(header_bytes)!r}")
        payload = self._exactly(payload_bytes)
        _, times_ns = decode_answers(payload)
        return times_ns, BEFORE.unpack(payload[-BEFORE.size :])

    def _exactly(self, wanted: int) -> bytes:
        got = b""
        while len(got) < wanted:
            chunk = self._channel.recv(wanted - len(got))
            if not chunk:
                raise AssertionError("the worker has ended")
            got += chunk
        return got


class Pipeline:
    """The bare pipeline in a process of its own."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def block(self, rate_hz: float, seconds: float) -> Block:
        """Ask at `rate_hz` for `seconds`."""
        taken, spent_ns = self.times(rate_hz, seconds)
        return Block(median(taken[SKIPPED:]), spent_ns / len(taken))

    def times(self, rate_hz: float, seconds: float) -> tuple[list[int], int]:
        """Ask at `rate_hz` for `seconds`; return the time of each query and the processor time of all [ns]."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"rate_hz": rate_hz, "seconds": seconds}) + "\n")
        self._process.stdin.flush()
        found = json.loads(_line(self._process))
        return found["ns"], found["cpu_ns"]


@contextlib.contextmanager
def worker(bundle: Int8Bundle, body: Body, cache: Path, folder: Path) -> Iterator[Worker]:
    """Start the worker as the agent does: launcher, sandbox, one thread.

    Raises:
        AssertionError: It does not serve.
    """
    order = folder / "order.json"
    order.write_text(ServeOrder(bundle_dir=bundle.folder, cache_dir=cache).model_dump_json(exclude_none=True))
    command = Command(MODULE, (str(order),), stdin_socket=True, readable=(order, bundle.folder, cache))
    child, ends = spawn(command), socket.socketpair()
    try:
        lines = child.lines()
        if not any(line.get("event") == "ready" for line in lines):
            raise AssertionError("the worker ended before it was ready")
        threading.Thread(target=deque, args=(lines, 0), daemon=True).start()  # read on, so that it never waits
        child.send({"do": "attach"}, ends[1].fileno())
        ends[1].close()
        ends[0].settimeout(PATIENCE_S)
        yield Worker(child, ends[0], body)
    finally:
        child.kill()
        child.wait()
        ends[0].close()


@contextlib.contextmanager
def pipeline(bundle: Int8Bundle, cache: Path) -> Iterator[Pipeline]:
    """Start the bare pipeline.

    Raises:
        AssertionError: It does not start.
    """
    command = [sys.executable, "-m", "benchmarks.load.pipeline", str(bundle.folder), str(cache)]
    environment = child_environment()
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=repository()
    )
    try:
        if _line(process) != "ready\n":
            raise AssertionError("the bare pipeline ended before it was ready")
        yield Pipeline(process)
    finally:
        process.kill()
        process.wait()


def pairs(first: Worker, second: Pipeline, rate_hz: float, seconds: float, count: int) -> list[tuple[Block, Block]]:
    """Return blocks of both, in turns, each first as often as second."""
    found = []
    for number in range(count):
        if number % 2:
            bare = second.block(rate_hz, seconds)
            found.append((first.block(rate_hz, seconds), bare))
        else:
            found.append((first.block(rate_hz, seconds), second.block(rate_hz, seconds)))
    return found


def _line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline()
