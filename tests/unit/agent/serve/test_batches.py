"""Batches in a worker: a sign of life while one is answered, and when it is given up."""

import gc
import socket
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from agent.serve import loop
from agent.serve.channel import Channel, encode_header
from agent.warm import ensure_warm
from tests.unit.agent.inference import bundle_kit as kit
from tests.unit.agent.serve.running import Running


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
