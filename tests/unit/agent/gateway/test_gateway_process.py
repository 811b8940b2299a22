"""The gateway as a real process, commanded as the agent commands it; its workers are played by threads."""

import json
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.serve.channel import Numbers
from tests.unit.agent.gateway.fake_worker import FakeWorker

BUNDLE, NEXT = "a" * 64, "b" * 64
HEAVY = ("numpy", "numba", "llvmlite", "onnxruntime", "ai_edge_litert", "cv2", "uvicorn")


def answering(header: Mapping[str, Any], payload: bytes) -> Numbers:
    """Answer with the query's first number as the value."""
    return Numbers([], [float(np.frombuffer(payload, dtype=header["dtype"])[0])])


class Gateway:
    """A running gateway, its lines and its stdin."""

    def __init__(self, folder: Path, serve: dict[str, Any]) -> None:
        self.commands, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "agent.gateway.main"], stdin=theirs.fileno(), stdout=subprocess.PIPE, text=True
            )
        order = {"fleet": "farm", "device": "barn-1", "boot_id": "boot-1", "state_dir": str(folder), "serve": serve}
        self.say(do="start", order={**order, "broker": {}, "metrics_interval_s": 0.2})

    def say(self, **command: Any) -> None:
        self.commands.sendall(json.dumps(command).encode() + b"\n")

    def attach(self, worker: FakeWorker, run: str, bundle: str, folder: Path, workload: str = "main") -> None:
        fields = {"do": "attach", "workload": workload, "run": run, "bundle": bundle, "bundle_dir": str(folder)}
        socket.send_fds(self.commands, [json.dumps(fields).encode() + b"\n"], [worker.end.fileno()])
        worker.end.close()

    def hear(self, event: str) -> dict[str, Any]:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            heard: dict[str, Any] = json.loads(line)
            if heard["event"] == event:
                return heard
        raise AssertionError(f"the gateway ended without {event!r}")

    def end(self) -> int:
        self.commands.close()
        assert self.process.stdout is not None
        self.process.stdout.close()
        return self.process.wait(timeout=30)


@pytest.fixture
def queries(tmp_path: Path) -> Path:
    path = tmp_path / "queries.npy"
    np.save(path, np.arange(10.0).reshape(10, 1, 1))
    return path


@pytest.fixture
def gateway(tmp_path: Path, queries: Path) -> Iterator[Gateway]:
    source = {"kind": "replay", "path": str(queries), "rate_hz": 200.0, "repeat": False}
    sink = {"kind": "jsonl", "path": str(tmp_path / "out" / "predictions.jsonl"), "flush_s": 0.1}
    workload = {"source": source, "sinks": [sink], "queue": {"policy": "queue", "size": 64}}
    running = Gateway(tmp_path, {"workloads": {"main": workload}})
    yield running
    if running.process.poll() is None:
        running.process.kill()
        running.end()


def test_replayed_queries_become_predictions_in_a_file(gateway: Gateway, tmp_path: Path) -> None:
    gateway.hear("ready")
    gateway.attach(FakeWorker(answering), "one", BUNDLE, tmp_path)
    answered = 0
    while answered < 10:
        answered += gateway.hear("metrics")["gateway"].get("answered", 0)
    gateway.say(do="stop")
    assert gateway.process.wait(timeout=30) == 0
    lines = (tmp_path / "out" / "predictions.jsonl").read_text().splitlines()
    documents = [json.loads(line) for line in lines]
    assert [document["values"] for document in documents] == [[float(number)] for number in range(10)]
    assert {(each["device"], each["workload"], each["bundle"]) for each in documents} == {("barn-1", "main", BUNDLE)}
    assert len({document["id"] for document in documents}) == 10


def test_it_loads_nothing_heavy_and_opens_no_server_that_nobody_asked_for(gateway: Gateway) -> None:
    gateway.hear("ready")
    maps = Path(f"/proc/{gateway.process.pid}/maps").read_text()
    assert [name for name in HEAVY if f"/{name}/" in maps] == []


def test_a_source_that_is_lost_is_told_and_tried_again(tmp_path: Path) -> None:
    missing = tmp_path / "missing.npy"
    source = {"kind": "replay", "path": str(missing), "rate_hz": 100.0, "repeat": False}
    running = Gateway(tmp_path, {"workloads": {"main": {"source": source}}})
    running.hear("ready")
    running.attach(FakeWorker(answering), "one", BUNDLE, tmp_path)
    trouble = running.hear("trouble")
    assert (trouble["workload"], trouble["reason"]) == ("main", "source_lost")
    assert str(missing) in trouble["detail"]
    np.save(missing, np.ones((3, 1, 1)))
    while running.hear("metrics")["gateway"].get("answered", 0) == 0:
        pass
    assert running.end() == 0


def test_sinks_that_cannot_be_made_are_told_and_queries_are_answered(tmp_path: Path, queries: Path) -> None:
    (tmp_path / "gateway").write_text("a file where the stores' folder should be")
    source = {"kind": "replay", "path": str(queries), "rate_hz": 100.0}
    sink = {"kind": "jsonl", "path": str(tmp_path / "out.jsonl")}
    running = Gateway(tmp_path, {"workloads": {"main": {"source": source, "sinks": [sink]}}})
    assert running.hear("trouble")["reason"] == "sink_unusable"
    running.hear("ready")
    running.attach(FakeWorker(answering), "one", BUNDLE, tmp_path)
    while running.hear("metrics")["gateway"].get("answered", 0) == 0:
        pass
    assert running.end() == 0


def test_the_end_of_its_stdin_is_its_end(gateway: Gateway) -> None:
    gateway.hear("ready")
    assert gateway.end() == 0
