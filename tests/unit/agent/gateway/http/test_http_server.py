"""Sockets, connections and their bounds: what the application behind them never sees."""

import asyncio
import builtins
import contextlib
import http.client
import json
import os
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.gateway.http import connections, request
from tests.unit.agent.gateway.http.http_kit import ANSWER, ANSWERED, PATIENCE_S, Served, free_port, serving

PREDICT = "/v1/workloads/main/predict"


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let clients have little time."""
    for module, name in (
        (connections, "HEAD_TIMEOUT_S"),
        (connections, "READ_TIMEOUT_S"),
        (request, "BODY_TIMEOUT_S"),
        (request, "LINGER_S"),
    ):
        monkeypatch.setattr(module, name, 0.1)


def raw_socket(served: Served) -> socket.socket:
    found = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    found.settimeout(PATIENCE_S)
    found.connect(str(served.settings.socket))
    return found


def rest_of(connection: socket.socket) -> bytes:
    """Return what comes until the other end closes; what it closes with does not matter."""
    got = b""
    with contextlib.suppress(ConnectionResetError, BrokenPipeError):
        while chunk := connection.recv(65536):
            got += chunk
    return got


def send_for_ever(connection: socket.socket, content: bytes) -> None:
    while True:
        with contextlib.suppress(TimeoutError):
            connection.sendall(content)


# --- the Unix socket ---------------------------------------------------------------------------------------------


def test_owner_and_group_may_connect_and_the_folder_is_made(folder: Path) -> None:
    path = folder / "run" / "thresher" / "agent.sock"
    with serving(folder, socket=path) as served:
        assert stat.S_IMODE(path.lstat().st_mode) == 0o660
        assert served.predict({"query": [1]}).document["answers"] == [ANSWER]
    assert not path.exists()


def test_a_socket_that_nobody_serves_is_replaced(folder: Path) -> None:
    left_over = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    left_over.bind(str(folder / "agent.sock"))
    left_over.close()
    with serving(folder) as served:
        assert served.told == []
        assert served.ask("GET", "/v1/health").status == 200


def test_a_socket_that_another_process_serves_is_left_alone_and_taken_over_once_it_is_free(folder: Path) -> None:
    with serving(folder) as first, serving(folder) as second:
        assert [reason for reason, _ in second.told] == ["http_unavailable"]
        assert "another process listens there" in second.told[0][1]
        first.lane.ready = False
        assert first.ask("GET", "/v1/health").status == 503
        first.do(first.front.stop())
        second.until((folder / "agent.sock").exists)
        assert second.ask("GET", "/v1/health").status == 200
        assert len(second.told) == 1


def test_a_file_in_the_way_is_kept(folder: Path) -> None:
    (folder / "agent.sock").write_text("precious")
    with serving(folder) as served:
        assert "no socket" in served.told[0][1]
    assert (folder / "agent.sock").read_text() == "precious"


def test_a_path_that_is_too_long_is_told(folder: Path) -> None:
    path = folder / ("x" * 108)
    with serving(folder, socket=path) as served:
        assert served.told == [
            ("http_unavailable", f"socket {path}: a path may have 107 bytes and this one has {len(os.fsencode(path))}")
        ]


def test_a_folder_that_cannot_be_made_is_told(folder: Path) -> None:
    (folder / "file").write_text("")
    with serving(folder, socket=folder / "file" / "agent.sock") as served:
        assert "file of the socket: File exists" in served.told[0][1]


def test_another_agents_socket_survives_our_end(folder: Path) -> None:
    path = folder / "agent.sock"
    with serving(folder):
        path.unlink()
        other = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        other.bind(str(path))
    assert path.exists()
    other.close()


# --- the loopback port -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def loopback(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("tcp"), http={"port": free_port()}) as served:
        yield served


def test_the_port_is_open_on_the_loopback_interface_only(loopback: Served) -> None:
    assert loopback.told == []
    assert loopback.predict({"query": [1]}).status == 200
    assert loopback.settings.http is not None
    inodes = {os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if _is_open(fd)}
    port, found = f"{loopback.settings.http.port:04X}", []
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        rows = [line.split() for line in Path(table).read_text().splitlines()[1:]] if Path(table).exists() else []
        found += [row[1] for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in inodes and row[1].endswith(port)]
    assert found
    assert {address.rpartition(":")[0] for address in found} <= {"0100007F", "00000000000000000000000001000000"}


def _is_open(fd: str) -> bool:
    return Path(f"/proc/self/fd/{fd}").is_symlink()


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LOCALHOST:8080", 200),
        ("127.0.0.1:1", 200),
        ("[::1]", 200),
        ("[::1]:80", 200),
        ("evil.example", 421),
        ("localhost.evil.example:80", 421),
        ("127.0.0.1.evil.example", 421),
        ("", 421),
    ],
)
def test_a_web_page_under_a_name_of_its_own_is_refused(loopback: Served, host: str, status: int) -> None:
    got = loopback.ask("GET", "/v1/workloads", Host=host)
    assert got.status == status
    assert "access-control-allow-origin" not in got.headers
    if status == 421:
        assert got.document["reason"] == "foreign_host"


def test_a_unix_socket_has_no_foreign_hosts(served: Served) -> None:
    assert served.ask("GET", "/v1/health", Host="whatever").status == 200


def test_a_port_that_is_taken_is_told_and_had_once_it_is_free(folder: Path) -> None:
    port = free_port()
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))
        other.listen()
        with serving(folder, http={"port": port}, socket=folder / "both.sock") as served:
            assert served.told == [("http_unavailable", f"port {port} of 127.0.0.1: Address already in use")]
            other.close()
            served.until((folder / "both.sock").exists)
            assert served.ask("GET", "/v1/health").status == 200
            over_tcp = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
            over_tcp.request("GET", "/v1/health")
            assert over_tcp.getresponse().status == 200
            over_tcp.close()


# --- connections -------------------------------------------------------------------------------------------------


def test_one_connection_too_many_is_told_so(folder: Path) -> None:
    with serving(folder, most_connections=2) as served:
        open_ones = [raw_socket(served) for _ in range(2)]
        got = served.ask("GET", "/")
        assert (got.status, got.document["reason"]) == (503, "too_busy")
        assert "2 connections are open" in got.document["detail"]
        for connection in open_ones:
            connection.close()
        served.until(lambda: served.front._server is not None and not served.front._server.server_state.connections)
        assert served.ask("GET", "/").status == 200


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize("sent", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: a\r\n"])
def test_a_client_that_dawdles_over_its_head_is_cut(folder: Path, sent: bytes) -> None:
    with serving(folder) as served:
        connection = raw_socket(served)
        connection.sendall(sent)
        assert rest_of(connection) == b""
        connection.close()


@pytest.mark.usefixtures("hurried")
def test_a_client_that_dawdles_over_its_second_head_is_cut(folder: Path) -> None:
    with serving(folder) as served:
        connection = raw_socket(served)
        connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        connection.sendall(b"GET / HTTP/1.1\r\n")
        rest_of(connection)
        connection.close()


@pytest.mark.usefixtures("hurried")
def test_a_body_that_drips_is_cut(folder: Path) -> None:
    with serving(folder) as served:
        connection = raw_socket(served)
        head = f"POST {PREDICT} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n"
        connection.sendall(head.encode())
        got = b""
        while b"body_timeout" not in got:
            with contextlib.suppress(BrokenPipeError):
                connection.sendall(b"1")
            got += connection.recv(65536)
        assert got.startswith(b"HTTP/1.1 408")
        rest_of(connection)
        connection.close()
        assert served.lane.asked == []


@pytest.mark.usefixtures("hurried")
def test_a_client_that_does_not_read_is_cut(folder: Path) -> None:
    with serving(folder) as served:
        connection = raw_socket(served)
        connection.settimeout(0.2)
        asking = b"GET /openapi.json HTTP/1.1\r\nHost: a\r\n\r\n" * 1000
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            send_for_ever(connection, asking)
        connection.close()
        assert served.ask("GET", "/").status == 200


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS greeting",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 20_000,
        f"POST {PREDICT} HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n".encode(),
    ],
)
def test_what_is_no_http_is_refused(served: Served, sent: bytes) -> None:
    connection = raw_socket(served)
    connection.sendall(sent)
    assert rest_of(connection).startswith(b"HTTP/1.1 400")
    connection.close()
    assert served.ask("GET", "/").status == 200


def test_an_end_lets_answers_be_finished(folder: Path) -> None:
    with serving(folder) as served:
        served.lane.outcome = None
        connection = served.connection()
        connection.request("POST", PREDICT, b'{"query": [1]}', {"Content-Type": "application/json"})
        [future] = served.until(lambda: served.lane.futures)

        async def end_then_answer() -> None:
            ending = asyncio.create_task(served.front.stop())
            await asyncio.sleep(0)
            future.set_result(ANSWERED)
            await ending

        served.do(end_then_answer())
        response = connection.getresponse()
        assert (response.status, json.loads(response.read())["answers"]) == (200, [ANSWER])
        connection.close()


def test_an_end_does_not_wait_for_ever(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "GRACE_S", 0)
    with serving(folder) as served:
        served.lane.outcome = None
        connection = served.connection()
        connection.request("POST", PREDICT, b'{"query": [1]}', {"Content-Type": "application/json"})
        [future] = served.until(lambda: served.lane.futures)
        served.do(served.front.stop())
        assert served.until(future.cancelled)
        connection.close()


# --- without the package -----------------------------------------------------------------------------------------


def test_without_uvicorn_it_is_told_which_extra_brings_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any, **named: Any) -> Any:
        if name.startswith(("uvicorn", "agent.gateway.http.connections")):
            raise ImportError(name)
        return real(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    with serving(folder) as served:
        [(reason, detail)] = served.told
    assert reason == "http_unavailable"
    assert "pip install 'thresher[serve]'" in detail
    assert not (folder / "agent.sock").exists()


def test_uvicorn_is_not_loaded_where_nothing_is_to_be_opened() -> None:
    program = (
        "import asyncio, sys\n"
        "from agent.gateway.http.server import HttpFront\n"
        "from agent.serve.settings import ServeConfig\n"
        "front = HttpFront(ServeConfig(), {}, print)\n"
        "asyncio.run(front.start()); asyncio.run(front.stop())\n"
        "print([name for name in ('uvicorn', 'h11', 'numpy') if name in sys.modules])\n"
    )
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert told.stdout == "[]\n"


def test_nothing_wakes_up_while_nobody_asks(folder: Path) -> None:
    """uvicorn's own loop would look around ten times a second."""
    with serving(folder) as served:
        assert served.ask("GET", "/").status == 200
        served.until(lambda: served.front._server is not None and not served.front._server.server_state.connections)
        waiting = [timer for timer in served.loop._scheduled if not timer.cancelled()]  # type: ignore[attr-defined]
        assert [timer.when() - time.monotonic() < 5 for timer in waiting].count(True) == 0
