"""The serving worker as a real child process, spoken to as the agent speaks to it."""

import io
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.serve.channel import Channel, decode_answers, encode_header
from agent.warm import ensure_warm
from tests.unit.agent.inference import bundle_kit as kit

QUERY = kit.queries(1)[0]


class Served:
    """A running worker, its lines, and the gateway's end of its channel."""

    def __init__(self, folder: Path, **order: Any) -> None:
        path = folder / "order.json"
        path.write_text(json.dumps({"bundle_dir": str(folder / "b"), **order}))
        self.commands, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "agent.serve.worker", str(path)],
                stdin=theirs.fileno(),
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
        self.channel: socket.socket | None = None
        self.replies: Channel | None = None

    def say(self, **command: Any) -> None:
        self.write(json.dumps(command))

    def write(self, line: str) -> None:
        self.commands.sendall(line.encode() + b"\n")

    def attach(self) -> None:
        self.channel, theirs = socket.socketpair()
        self.replies = Channel(self.channel)
        with theirs:
            socket.send_fds(self.commands, [b'{"do": "attach"}\n'], [theirs.fileno()])

    def ask(self, payload: bytes, **header: Any) -> None:
        assert self.channel is not None
        self.channel.sendall(encode_header(header, len(payload)) + payload)

    def reply(self) -> dict[str, Any]:
        """Return a refusal, or the classes of each answer and the times."""
        assert self.replies is not None
        frame = self.replies.receive()
        assert frame is not None
        if frame[0]:
            return dict(frame[0])
        answers, times_ns = decode_answers(bytes(frame[1]))
        return {"classes": [list(answer.classes) for answer in answers], "ns": times_ns}

    def hear(self, event: str) -> dict[str, Any]:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            heard: dict[str, Any] = json.loads(line)
            if heard["event"] == event:
                return heard
        raise AssertionError(f"the worker ended without {event!r}")

    def end(self) -> int:
        self.commands.close()
        return self.process.wait(timeout=30)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    ensure_warm()
    kit.write_bundle(tmp_path / "b")
    return tmp_path


@pytest.fixture(scope="module")
def served_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One worker for all queries that must not hurt it."""
    folder = tmp_path_factory.mktemp("served")
    ensure_warm()
    kit.write_bundle(folder / "b")
    served = Served(folder)
    served.hear("ready")
    served.attach()
    yield served
    assert served.end() == 0


def test_it_is_ready_answers_and_stops(bundle: Path) -> None:
    served = Served(bundle)
    assert served.hear("ready")["rss_bytes"] > 0
    served.say(do="infer", id=5, query=QUERY.tolist())
    answer = served.hear("answer")
    best = np.argsort(-kit.reference(QUERY[np.newaxis])[0])[:2]
    assert (answer["id"], answer["classes"]) == (5, best.tolist())
    assert answer["labels"] == [kit.LABELS[number] for number in best]
    served.say(do="stop")
    assert served.end() == 0


def test_a_bad_query_is_answered_and_counted_and_nothing_crashes(bundle: Path) -> None:
    served = Served(bundle, workload="leaves")
    served.hear("ready")
    for query in ([1, 2, 3], "text", [[1], [2, 3]], None):
        served.say(do="infer", id=1, query=query)
        assert served.hear("answer")["reason"] == "bad_query"
    served.write("no json")
    assert served.hear("error")["reason"] == "bad_command"
    served.say(do="fly")
    assert "fly" in served.hear("error")["detail"]
    served.say(do="infer", id=2, query=QUERY.tolist())
    assert served.hear("answer")["classes"]
    served.say(do="stop")
    metrics = served.hear("metrics")["workload_metrics"]
    assert (metrics["workload"], metrics["queries"], metrics["errors"]) == ("leaves", 5, 4)
    assert metrics["errors_by_reason"] == {"bad_query": 4}
    assert sum(metrics["predictions"].values()) == 1
    assert served.end() == 0


def test_its_channel_takes_every_encoding_and_batches(bundle: Path) -> None:
    served = Served(bundle)
    served.hear("ready")
    served.attach()
    stacked = kit.queries(3)
    expected = [np.argsort(-row)[:2].tolist() for row in kit.reference(stacked)]
    npy = io.BytesIO()
    np.save(npy, QUERY)
    served.ask(np.ascontiguousarray(QUERY).tobytes(), encoding="raw", dtype=str(QUERY.dtype), shape=QUERY.shape)
    served.ask(npy.getvalue(), encoding="npy")
    served.ask(json.dumps(QUERY.tolist()).encode(), encoding="json")
    served.ask(json.dumps(stacked.tolist()).encode(), encoding="json", batch=True)
    replies = [served.reply() for _ in range(4)]
    assert [reply["classes"] for reply in replies[:3]] == [[expected[0]]] * 3
    assert replies[3]["classes"] == expected
    assert all(spent > 0 for spent in replies[0]["ns"])
    assert served.end() == 0


@pytest.mark.parametrize(
    ("payload", "header"),
    [
        (b"[1, 2", {"encoding": "json"}),
        (b'[[1], ["a"]]', {"encoding": "json"}),
        (b"[" * 100_000, {"encoding": "json"}),
        (b"", {"encoding": "npy"}),
        (b"\x93NUMPY\x01\x00\x10\x00{'descr': '|O'}\n", {"encoding": "npy"}),
        (b"\x80\x04N.", {"encoding": "npy"}),
        (b"12345", {"encoding": "raw", "dtype": "float64", "shape": [1]}),
        (b"12345678", {"encoding": "raw", "dtype": "object", "shape": [1]}),
        (b"12345678", {"encoding": "raw", "dtype": "float64", "shape": [-7]}),
        (b"[]", {"encoding": "json", "batch": True}),
        (b"3.5", {"encoding": "json", "batch": True}),
        (bytes(10_001), {"encoding": "raw", "dtype": "int8", "shape": [10_001], "batch": True}),
    ],
)
def test_bytes_that_are_no_query_are_refused_and_counted(
    served_once: Served, payload: bytes, header: dict[str, Any]
) -> None:
    served_once.ask(payload, **header)
    reply = served_once.reply()
    assert reply["reason"] == "bad_query"
    served_once.ask(json.dumps(QUERY.tolist()).encode(), encoding="json")
    assert served_once.reply()["classes"]


def test_told_to_stop_it_answers_what_its_channel_holds(bundle: Path) -> None:
    served = Served(bundle)
    served.hear("ready")
    served.attach()
    for _ in range(20):
        served.ask(json.dumps(QUERY.tolist()).encode(), encoding="json")
    served.say(do="stop")
    assert all(served.reply()["classes"] for _ in range(20))
    assert served.process.poll() is None
    assert served.channel is not None
    served.channel.close()
    assert served.process.wait(timeout=30) == 0


def test_a_new_channel_replaces_one_whose_gateway_is_gone(bundle: Path) -> None:
    served = Served(bundle)
    served.hear("ready")
    for _ in range(2):
        served.attach()
        served.ask(json.dumps(QUERY.tolist()).encode(), encoding="json")
        assert served.reply()["classes"]
        assert served.channel is not None
        served.channel.close()
    served.say(do="stop")
    assert served.process.wait(timeout=30) == 0


def test_metrics_are_told_while_it_serves(bundle: Path) -> None:
    served = Served(bundle, metrics_interval_s=0.3)
    served.hear("ready")
    served.attach()
    for _ in range(5):
        served.ask(json.dumps(QUERY.tolist()).encode(), encoding="json")
        served.reply()
    queries, labels = 0, set()
    while queries < 5:
        metrics = served.hear("metrics")["workload_metrics"]
        queries += metrics.get("queries", 0)
        labels |= set(metrics.get("predictions", {}))
    assert labels <= set(kit.LABELS)
    assert served.end() == 0


def test_the_end_of_stdin_is_the_end(bundle: Path) -> None:
    served = Served(bundle)
    served.hear("ready")
    assert served.end() == 0


@pytest.mark.parametrize(
    ("order", "reason", "code"),
    [
        ({"source": {"kind": "camera"}}, "configuration_invalid", 3),
        ({"bundle_dir": "/nonexistent"}, "not_found", 4),
    ],
)
def test_what_cannot_be_served_is_said(bundle: Path, order: dict[str, Any], reason: str, code: int) -> None:
    served = Served(bundle, **order)
    assert served.hear("error")["reason"] == reason
    assert served.process.wait(timeout=30) == code


def test_a_model_that_does_not_load_ends_the_process(bundle: Path) -> None:
    (bundle / "b/model.onnx").write_bytes(b"no model")
    served = Served(bundle)
    assert served.hear("error")["reason"] == "engine_failed"
    assert served.process.wait(timeout=30) == 5
