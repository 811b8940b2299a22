"""Webhooks over real sockets: what answers mean, what hangs is cut off, what is sent, and TLS."""

import asyncio
import hashlib
import json
import os
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from agent.errors import ConfigurationError
from agent.gateway.base import Undelivered
from agent.gateway.sinks.failures import (
    NotNow,
    WebhookBusy,
    WebhookDenied,
    WebhookRefused,
    WebhookTimedOut,
    WebhookUnreachable,
)
from agent.gateway.sinks.post import Address, TlsContexts
from agent.gateway.sinks.webhook import LONGEST_RETRY_AFTER_S, Webhook
from agent.serve.settings import WebhookSink
from tests.unit.agent.gateway.sinks.sink_kit import START_S, VirtualTime, prediction
from tests.unit.agent.gateway.sources.source_kit import play
from tests.unit.agent.gateway.test_mqtt_link_tls import authority

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Request:
    """What a server was asked."""

    def __init__(self, head: bytes, body: bytes) -> None:
        self.line, *lines = head.decode().rstrip("\r\n").split("\r\n")
        self.headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        self.body = body


class Server:
    """Answers each request with the next of `answers`, the last one for ever."""

    def __init__(self, *answers: bytes) -> None:
        self.answers = list(answers) or [b"HTTP/1.1 204 No Content\r\n\r\n"]
        self.requests: list[Request] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.startswith(b"Content-Length"))
        self.requests.append(Request(head, await reader.readexactly(length)))
        writer.write(self.answers.pop(0) if len(self.answers) > 1 else self.answers[0])
        await writer.drain()
        writer.close()


@asynccontextmanager
async def serving(serve: Serve, context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def webhook(url: str, **settings: Any) -> Webhook:
    return Webhook("webhook", WebhookSink(kind="webhook", url=url, **settings), VirtualTime().clock)


def deliver(serve: Serve, path: str = "/in", **settings: Any) -> BaseException | None:
    """Deliver two predictions to a server; return what it raised."""
    raised: list[BaseException] = []

    async def scene() -> None:
        async with serving(serve) as port:
            sink = webhook(f"http://127.0.0.1:{port}{path}", **settings)
            try:
                await sink.deliver([prediction(1), prediction(2)])
            except Exception as exc:
                raised.append(exc)
            await sink.close()

    play(scene)
    return raised[0] if raised else None


def answered(status: str, *headers: str) -> Server:
    return Server("\r\n".join([f"HTTP/1.1 {status}", *headers, "", ""]).encode())


def test_a_list_is_one_request(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("Bearer only-for-this-test\n")
    server = answered("200 OK")
    assert deliver(server, "/in/größe?site=1", authorization_file=secret) is None
    (request,) = server.requests
    assert request.line == "POST /in/gr%C3%B6%C3%9Fe?site=1 HTTP/1.1"
    assert json.loads(request.body) == {"predictions": [dict(prediction(n).document) for n in (1, 2)]}
    assert request.headers["content-type"] == "application/json"
    assert request.headers["authorization"] == "Bearer only-for-this-test"
    assert request.headers["idempotency-key"] == hashlib.sha256(b"boot-1\nboot-2").hexdigest()
    assert request.headers["host"].startswith("127.0.0.1:")


@pytest.mark.parametrize(
    ("status", "error", "reason"),
    [
        ("200 OK", None, ""),
        ("202", None, ""),
        ("301 Moved", WebhookDenied, "webhook_denied"),
        ("400 Bad", WebhookRefused, "webhook_refused"),
        ("401 Who", WebhookDenied, "webhook_denied"),
        ("403 No", WebhookDenied, "webhook_denied"),
        ("404 Where", WebhookRefused, "webhook_refused"),
        ("407 Proxy", WebhookDenied, "webhook_denied"),
        ("408 Slow", WebhookBusy, "webhook_busy"),
        ("413 Large", WebhookRefused, "webhook_refused"),
        ("425 Early", WebhookBusy, "webhook_busy"),
        ("429 Often", WebhookBusy, "webhook_busy"),
        ("500 Oh", WebhookBusy, "webhook_busy"),
        ("503 Later", WebhookBusy, "webhook_busy"),
    ],
)
def test_what_a_status_means(status: str, error: type[Exception] | None, reason: str) -> None:
    server = answered(status, "Location: http://127.0.0.1:9/elsewhere")
    raised = deliver(server)
    assert type(raised) is (error or type(None))
    assert raised is None or raised.reason == reason  # type: ignore[attr-defined]
    assert len(server.requests) == 1, "a redirect is not followed"


@pytest.mark.parametrize(
    ("text", "after_s"),
    [
        ("120", 120.0),
        ("999999", LONGEST_RETRY_AFTER_S),
        ("Fri, 15 Jan 2027 08:10:00 GMT", 600.0),
        ("Fri, 15 Jan 2010 08:10:00 GMT", 0.0),
        ("soon", 0.0),
        ("-5", 0.0),
        ("²", 0.0),
        ("", 0.0),
    ],
)
def test_retry_after_is_honoured_within_reason(text: str, after_s: float) -> None:
    assert START_S == 1_800_000_000.0  # Fri, 15 Jan 2027 08:00:00 GMT
    raised = deliver(answered("503 Later", f"Retry-After: {text}"))
    assert isinstance(raised, NotNow)
    assert raised.after_s == after_s


async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()  # until the other side gives up
    writer.close()


async def hang_unread(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:  # noqa: ARG001 - reads nothing
    await asyncio.sleep(30)


async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send a byte now and then: no single read waits for long, and it never ends."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while not writer.is_closing():
        writer.write(b"x")
        await asyncio.sleep(0.02)


async def drip_interim(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    while not writer.is_closing():
        writer.write(b"HTTP/1.1 102 Processing\r\n\r\n")
        await asyncio.sleep(0.02)


@pytest.mark.parametrize("serve", [hang, hang_unread, drip, drip_interim], ids=lambda serve: serve.__name__)
def test_a_webhook_that_hangs_or_drips_is_cut_off(serve: Serve) -> None:
    assert isinstance(deliver(serve, timeout_s=0.3), WebhookTimedOut)


async def rude(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:  # noqa: ARG001 - reads nothing
    writer.transport.abort()


@pytest.mark.parametrize(
    "serve",
    [
        rude,
        Server(b"SSH-2.0-OpenSSH\r\n\r\n"),
        Server(b"HTTP/1.1 abc\r\n\r\n"),
        Server(b"HTTP/1.1 200 OK\r\n"),
        Server(b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 20_000 + b"\r\n"),
        Server(b""),
    ],
    ids=["reset", "other protocol", "no status", "cut off", "huge head", "nothing"],
)
def test_what_does_not_speak_http_is_unreachable(serve: Serve) -> None:
    raised = deliver(serve)
    assert isinstance(raised, WebhookUnreachable)
    assert "127.0.0.1" in str(raised)


def test_interim_answers_are_passed_over() -> None:
    assert deliver(Server(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n\r\n")) is None


def test_nobody_there_is_unreachable() -> None:
    async def scene() -> None:
        async with serving(rude) as port:
            pass
        with pytest.raises(WebhookUnreachable):
            await webhook(f"http://127.0.0.1:{port}/").deliver([prediction(1)])

    play(scene)


def test_an_answer_that_comes_before_all_was_sent_counts() -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Content Too Large\r\n\r\n")
        await writer.drain()
        while await reader.read(65536):
            pass

    assert isinstance(deliver(refuse), WebhookRefused)


@pytest.mark.parametrize("content", [None, b"", b"two\nlines", b"\xff", b"bad\x00"])
def test_an_authorization_that_cannot_be_sent_keeps_the_predictions(tmp_path: Path, content: bytes | None) -> None:
    secret = tmp_path / "secret"
    if content is not None:
        secret.write_bytes(content)
    server = answered("200 OK")
    raised = deliver(server, authorization_file=secret)
    assert isinstance(raised, WebhookDenied)
    assert isinstance(raised, Undelivered)
    assert str(secret) in str(raised)
    assert server.requests == []


def test_a_new_secret_needs_no_restart(tmp_path: Path) -> None:
    secret, server = tmp_path / "secret", answered("200 OK")

    async def scene() -> None:
        async with serving(server) as port:
            sink = webhook(f"http://127.0.0.1:{port}/", authorization_file=secret)
            for text in ("one", "two"):
                secret.write_text(text)
                await sink.deliver([prediction(1)])

    play(scene)
    assert [request.headers["authorization"] for request in server.requests] == ["one", "two"]


def test_tls_is_verified(tmp_path: Path) -> None:
    ours, strange = authority(tmp_path, "barn"), authority(tmp_path, "stranger")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(ours, ours.with_suffix(".key"))
    server = answered("200 OK")

    async def scene() -> None:
        async with serving(server, context) as port:
            url = f"https://127.0.0.1:{port}/"
            await webhook(url, ca_file=ours).deliver([prediction(1)])
            for ca_file in (strange, None, tmp_path / "missing"):
                with pytest.raises(WebhookUnreachable):
                    await webhook(url, ca_file=ca_file).deliver([prediction(1)])

    play(scene)
    assert len(server.requests) == 1


def test_a_tls_context_is_made_once_and_again_after_the_file_changed(tmp_path: Path) -> None:
    ours, other = authority(tmp_path, "barn"), authority(tmp_path, "stranger")

    async def scene() -> None:
        contexts = TlsContexts()
        first = await contexts.of(ours)
        assert await contexts.of(ours) is first
        assert await contexts.of(None) is await contexts.of(None) is not first
        ours.write_bytes(other.read_bytes())
        os.utime(ours, ns=(1, ours.stat().st_mtime_ns + 1))
        second = await contexts.of(ours)
        assert second.get_ca_certs() != first.get_ca_certs()

    play(scene)


def test_messages_name_the_port() -> None:
    raised: list[str] = []

    async def scene() -> None:
        with pytest.raises(WebhookUnreachable) as caught:
            await webhook("http://127.0.0.1:9/hook?key=secret").deliver([prediction(1)])
        raised.append(str(caught.value))

    play(scene)
    assert raised[0].startswith("http://127.0.0.1:9/hook: ")


@pytest.mark.parametrize(
    ("url", "host", "port", "authority", "target"),
    [
        ("http://example.org", "example.org", 80, "example.org", "/"),
        ("https://example.org:8443/a b".replace(" ", "%20"), "example.org", 8443, "example.org:8443", "/a%20b"),
        ("https://[::1]/x?y=1#z", "::1", 443, "[::1]", "/x?y=1"),
        ("http://bücher.example/", "xn--bcher-kva.example", 80, "xn--bcher-kva.example", "/"),
    ],
)
def test_a_url_taken_apart(url: str, host: str, port: int, authority: str, target: str) -> None:
    address = Address.of(url)
    assert (address.host, address.port, address.authority, address.target) == (host, port, authority, target)
    assert "y=1" not in address.shown


@pytest.mark.parametrize(
    "url",
    [
        "http://",
        "http:///x",
        "http://a:99999/",
        "http://user:secret@a/",
        "http://a/\r\nX: y",
        "http://[::1",
        "http://a b/",
    ],
)
def test_a_url_that_cannot_be_used_is_a_configuration_error(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Address.of(url)
    assert "secret" not in str(caught.value)
