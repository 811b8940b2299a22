"""What a worker outlives, a query for which there is not memory enough, and what it must not: hearing no commands."""

import gc
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.serve import channel as frames
from agent.serve import loop
from agent.serve.channel import Channel, TakesTooMuch, encode_header
from agent.serve.decode import Form, decode_value
from agent.warm import ensure_warm
from tests.unit.agent.inference import bundle_kit as kit
from tests.unit.agent.serve.running import Running

QUERY = kit.queries(1)[0]


@pytest.fixture(autouse=True)
def warm(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(ensure_warm()))
    yield
    gc.unfreeze()  # a loop freezes what its process holds


def frame(query: Any, **more: Any) -> bytes:
    header = {"encoding": "raw", "dtype": str(query.dtype), "shape": query.shape, **more}
    content: bytes = query.tobytes()
    return encode_header(header, len(content)) + content


def failing_once(run: Any, after: int = 0) -> Any:
    """Return a call that has no memory once, after so many calls."""
    calls = iter(range(10**9))

    def call(*args: Any) -> Any:
        if next(calls) == after:
            raise MemoryError("bad_alloc")
        return run(*args)

    return call


@pytest.mark.parametrize("step", ["prepare", "infer", "finish"])
def test_a_query_without_memory_enough_is_refused_and_the_next_one_answered(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = Running(tmp_path)
    mine, theirs = socket.socketpair()
    monkeypatch.setattr(running.pipeline, step, failing_once(getattr(running.pipeline, step)))
    running.attach(theirs)
    asking = Channel(mine)
    mine.sendall(frame(QUERY) * 2)
    refused, answered = asking.receive(), asking.receive()
    assert refused is not None
    assert refused[0]["reason"] == "query_out_of_memory"
    assert "send less at a time, or raise the worker's cap. bad_alloc" in refused[0]["detail"]
    assert answered is not None
    assert not answered[0]
    mine.close()
    running.end()
    assert running.failure is None
    counted = running.metrics()
    assert (sum(one["queries"] for one in counted), [one["errors_by_reason"] for one in counted if one["errors"]]) == (
        2,
        [{"query_out_of_memory": 1}],
    )


def test_so_is_one_that_cannot_be_decoded_and_one_over_stdin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    running = Running(tmp_path)
    mine, theirs = socket.socketpair()
    monkeypatch.setattr(Form, "decode", failing_once(Form.decode))
    monkeypatch.setattr(loop, "decode_value", failing_once(decode_value))
    running.attach(theirs)
    mine.sendall(frame(QUERY))
    refused = Channel(mine).receive()
    assert refused is not None
    assert refused[0]["reason"] == "query_out_of_memory"
    for number in (1, 2):
        running.commands.sendall(json.dumps({"do": "infer", "id": number, "query": QUERY.tolist()}).encode() + b"\n")
    mine.close()
    running.end()
    answers = [said for said in running.said if said["event"] == "answer"]
    assert [(answer["id"], answer.get("reason")) for answer in answers] == [(1, "query_out_of_memory"), (2, None)]
    assert answers[1]["classes"]


def test_a_batch_is_refused_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    running = Running(tmp_path)
    mine, theirs = socket.socketpair()
    monkeypatch.setattr(running.pipeline, "infer", failing_once(running.pipeline.infer, after=2))
    running.attach(theirs)
    mine.sendall(frame(np.stack([QUERY] * 5), batch=True))
    refused = Channel(mine).receive()
    assert refused is not None
    assert refused[0]["reason"] == "query_out_of_memory"
    mine.close()
    running.end()
    assert running.failure is None


def test_a_worker_without_memory_for_its_own_query_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    running = Running(tmp_path)
    mine, theirs = socket.socketpair()

    def no_memory(*_: Any) -> Any:
        raise MemoryError("none at all")

    monkeypatch.setattr(running.pipeline, "infer", no_memory)
    running.attach(theirs)
    mine.sendall(frame(QUERY))
    refused = Channel(mine).receive()
    assert refused is not None
    running.join()
    assert isinstance(running.failure, MemoryError)
    mine.close()
    running.commands.close()


class NoMemory:
    """Stands for `bytearray` or `bytes` in a process that has no memory for something large."""

    def __init__(self, kind: Any) -> None:
        self._kind = kind

    def __call__(self, content: Any) -> Any:
        if (content if isinstance(content, int) else len(content)) > 1_000_000:
            raise MemoryError
        return self._kind(content)


@pytest.mark.parametrize("kind", [bytearray, bytes])
def test_a_frame_that_memory_cannot_hold_is_dropped_and_the_next_one_received(
    kind: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, theirs = socket.socketpair()
    large, small = encode_header({}, 3_000_000) + bytes(3_000_000), encode_header({"shape": [2]}, 2) + b"ab"
    sending = subprocess.Popen(
        [sys.executable, "-c", "import sys; sys.stdout.buffer.write(sys.stdin.buffer.read())"],
        stdin=subprocess.PIPE,
        stdout=theirs.fileno(),
    )
    theirs.close()
    assert sending.stdin is not None
    sending.stdin.write(large + small)
    sending.stdin.close()
    receiving = Channel(mine)
    with monkeypatch.context() as patched:
        patched.setattr(frames, kind.__name__, NoMemory(kind), raising=False)
        with pytest.raises(TakesTooMuch, match="more memory than the worker has left"):
            receiving.receive()
    got = receiving.receive()
    assert got is not None
    assert (got[0], bytes(got[1])) == ({"shape": [2]}, b"ab")
    assert receiving.receive() is None
    assert sending.wait(timeout=30) == 0
    mine.close()


def test_a_frame_without_memory_ends_with_its_channel(monkeypatch: pytest.MonkeyPatch) -> None:
    mine, theirs = socket.socketpair()
    theirs.sendall(encode_header({}, 3_000_000) + bytes(1000))
    theirs.close()
    monkeypatch.setattr(frames, "bytearray", NoMemory(bytearray), raising=False)
    assert Channel(mine).receive() is None
    mine.close()


def test_a_worker_refuses_a_frame_that_memory_cannot_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    running = Running(tmp_path)
    mine, theirs = socket.socketpair()
    answers = Channel(mine)
    monkeypatch.setattr(Channel, "receive", failing_receive(Channel.receive))
    running.attach(theirs)
    refused = receive(answers)
    assert refused is not None
    assert refused[0]["reason"] == "query_out_of_memory"
    mine.sendall(frame(QUERY))
    answered = receive(answers)
    assert answered is not None
    assert not answered[0]
    mine.close()
    running.end()
    assert running.failure is None


receive = Channel.receive


def failing_receive(run: Any) -> Any:
    calls = iter(range(10**9))

    def call(channel: Channel) -> Any:
        if next(calls) == 0:
            raise TakesTooMuch(frames.TOO_MUCH)
        return run(channel)

    return call


@pytest.mark.parametrize("exc", [OSError(5, "Input/output error"), KeyError("do")], ids=lambda exc: type(exc).__name__)
def test_a_loop_that_hears_no_commands_ends(exc: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def obey(*_: Any) -> None:
        raise exc

    monkeypatch.setattr(loop.ServingLoop, "_obey", obey)
    running = Running(tmp_path)
    running.commands.sendall(b'{"do": "anything"}\n')
    running.join()
    assert isinstance(running.failure, RuntimeError)
    assert running.failure.__cause__ is exc
    running.commands.close()


def test_a_process_that_hears_no_commands_ends_though_its_channel_is_open(tmp_path: Path) -> None:
    """A descriptor that is no socket stands for what nobody foresaw."""
    kit.write_bundle(tmp_path / "b")
    (tmp_path / "order.json").write_text(json.dumps({"bundle_dir": str(tmp_path / "b")}))
    commands, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", "agent.serve.worker", str(tmp_path / "order.json")],
            stdin=theirs.fileno(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
    assert process.stdout is not None
    assert process.stderr is not None
    assert b'"ready"' in process.stdout.readline()
    mine, end = socket.socketpair()
    with end:
        socket.send_fds(commands, [b'{"do": "attach"}\n'], [end.fileno()])
    mine.sendall(frame(QUERY))
    assert Channel(mine).receive() is not None
    with (tmp_path / "order.json").open() as no_socket:
        socket.send_fds(commands, [b'{"do": "attach"}\n'], [no_socket.fileno()])
    assert process.wait(timeout=30) == 1
    assert b"commands are no longer heard" in process.stderr.read()
    process.stdout.close()
    process.stderr.close()
    mine.close()
    commands.close()
