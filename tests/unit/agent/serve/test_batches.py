"""Batches in a worker: a sign of life while one is answered, and when it is given up."""

import gc
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.serve import loop
from agent.serve.channel import Channel, encode_header
from agent.serve.commands import CommandReader
from agent.serve.orders import ServeOrder
from agent.warm import ensure_warm
from tests.unit.agent.inference import bundle_kit as kit


class Running:
    """A loop in a thread of this process, and what it says."""

    def __init__(self, folder: Path, **order: Any) -> None:
        kit.write_bundle(folder / "b")
        self.said: list[dict[str, Any]] = []
        self.commands, theirs = socket.socketpair()
        with theirs:
            reader = CommandReader(theirs.fileno())
        serving = loop.ServingLoop(ServeOrder(bundle_dir=folder / "b", **order), reader, self._hear)
        self._thread = threading.Thread(target=serving.run, daemon=True)
        self._thread.start()

    def _hear(self, event: str, **fields: Any) -> None:
        self.said.append({"event": event, **fields})

    def attach(self, end: socket.socket) -> None:
        with end:
            socket.send_fds(self.commands, [b'{"do": "attach"}\n'], [end.fileno()])

    def end(self) -> None:
        self.commands.close()
        self.join()

    def join(self) -> None:
        self._thread.join(timeout=30)
        assert not self._thread.is_alive()

    def metrics(self) -> list[dict[str, Any]]:
        """Return what each line counted; those without queries left out."""
        told = [said["workload_metrics"] for said in self.said if said["event"] == "metrics"]
        return [counted for counted in told if counted["queries"]]


@pytest.fixture(autouse=True)
def warm(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(ensure_warm()))
    yield
    gc.unfreeze()  # a loop freezes what its process holds


def batch(count: int) -> bytes:
    numbers = np.random.default_rng(5).integers(-9, 9, (count, kit.CHANNELS, kit.LENGTH), dtype=np.int8)
    header = {"encoding": "raw", "dtype": "int8", "shape": numbers.shape, "batch": True}
    return encode_header(header, numbers.nbytes) + numbers.tobytes()


def test_metrics_are_told_while_a_batch_is_answered(tmp_path: Path) -> None:
    running = Running(tmp_path, metrics_interval_s=0.01)
    mine, theirs = socket.socketpair()
    running.attach(theirs)
    mine.sendall(batch(loop.MOST_AT_ONCE))
    frame = Channel(mine).receive()
    assert frame is not None
    assert not frame[0]
    mine.close()
    running.end()
    counted = [metrics["queries"] for metrics in running.metrics()]
    assert sum(counted) == loop.MOST_AT_ONCE
    assert len(counted) > 1


def test_a_batch_that_takes_too_long_is_given_up_and_the_worker_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = Running(tmp_path)
    mine, theirs = socket.socketpair()
    running.attach(theirs)
    channel = Channel(mine)
    with monkeypatch.context() as patched:
        patched.setattr(loop, "LONGEST_BATCH_S", 0.0)
        mine.sendall(batch(3))
        refused = channel.receive()
    assert refused is not None
    assert refused[0]["reason"] == "batch_too_long"
    assert "after 1 of 3 queries" in refused[0]["detail"]
    mine.sendall(batch(3))
    answered = channel.receive()
    assert answered is not None
    assert not answered[0]
    mine.close()
    running.end()
    assert [metrics["errors_by_reason"] for metrics in running.metrics()] == [{"batch_too_long": 1}]


def test_told_to_stop_it_gives_up_a_batch_whose_gateway_is_gone(tmp_path: Path) -> None:
    running = Running(tmp_path)
    mine, theirs = socket.socketpair()
    with mine:
        mine.sendall(batch(50))
    running.attach(theirs)
    running.commands.sendall(b'{"do": "stop"}\n')
    running.join()
    assert [(metrics["queries"], metrics["errors"]) for metrics in running.metrics()] == [(1, 0)]
    running.commands.close()
