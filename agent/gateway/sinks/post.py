"""One HTTP POST, bounded in time and in what is read of the answer.

Decides: what goes over the connection, and that all of it together takes `timeout_s` at most: a server that hangs, or
sends a byte now and then, is cut off. Leaves out: what the answer means (`webhook.py`). Only the answer's head is read.
"""

import asyncio
import contextlib
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, urlsplit

from agent.errors import ConfigurationError
from agent.gateway.sinks.failures import WebhookTimedOut, WebhookUnreachable

MOST_HEAD_BYTES = 32 * 1024
_SAFE = "/:?#[]@!$&'()*+,;=%-._~"


@dataclass(frozen=True)
class Answer:
    """Status and headers, their names in small letters."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Address:
    """A URL taken apart."""

    host: str
    port: int
    target: str
    path: str
    is_tls: bool
    ca_file: Path | None = None

    @classmethod
    def of(cls, url: str, ca_file: Path | None = None) -> "Address":
        """Return the address in `url`.

        Raises:
            ConfigurationError: No host, a faulty port, or credentials in it.
        """
        try:
            parts = urlsplit(url)
            host = (
                (parts.hostname or "").encode("idna").decode() if ":" not in (parts.hostname or "") else parts.hostname
            )
            port = parts.port
        except ValueError as exc:
            raise ConfigurationError(f"url of a webhook: {exc}") from exc
        if not host or any(mark.isspace() for mark in url):
            raise ConfigurationError("url of a webhook must be http://HOST/PATH or https://HOST/PATH, without spaces")
        if parts.username is not None or parts.password is not None:
            raise ConfigurationError("url of a webhook must not hold credentials: use authorization_file")
        is_tls = parts.scheme == "https"
        target = quote(parts.path or "/", _SAFE) + (f"?{quote(parts.query, _SAFE)}" if parts.query else "")
        return cls(host, port or (443 if is_tls else 80), target, parts.path, is_tls, ca_file)

    @property
    def authority(self) -> str:
        """What the header `Host` says."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.is_tls else 80) else f"{host}:{self.port}"

    @property
    def shown(self) -> str:
        """What messages name: no query, which may hold a secret."""
        return f"http{'s' if self.is_tls else ''}://{self.authority}{self.path}"


class TlsContexts:
    """One TLS context for each `ca_file`, made again once the file has changed: making one takes 20 ms and more."""

    def __init__(self) -> None:
        self._known: dict[Path | None, tuple[int, ssl.SSLContext]] = {}

    async def of(self, ca_file: Path | None) -> ssl.SSLContext:
        """Return the context that trusts `ca_file`, or what the system trusts; a new one is made on another thread.

        Raises:
            OSError: The file cannot be read, or holds no certificate.
        """
        changed_ns = _changed_ns(ca_file)
        known = self._known.get(ca_file)
        if known is not None and known[0] == changed_ns:
            return known[1]
        context = await asyncio.to_thread(ssl.create_default_context, cafile=ca_file)
        self._known[ca_file] = (changed_ns, context)
        return context


_CONTEXTS = TlsContexts()


async def post(address: Address, headers: Mapping[str, str], body: bytes, timeout_s: float) -> Answer:
    """Send `body` and return the head of the answer.

    Raises:
        WebhookTimedOut: Not answered within `timeout_s`, counted from the start.
        WebhookUnreachable: No connection, no certificate that holds, or no HTTP.
    """
    try:
        async with asyncio.timeout(timeout_s):
            return await _exchange(address, headers, body)
    except TimeoutError as exc:
        raise WebhookTimedOut(f"{address.shown} did not answer within {timeout_s:g} s") from exc
    except (OSError, ValueError, EOFError, asyncio.LimitOverrunError) as exc:
        raise WebhookUnreachable(f"{address.shown}: {exc}") from exc


async def _exchange(address: Address, headers: Mapping[str, str], body: bytes) -> Answer:
    context = await _CONTEXTS.of(address.ca_file) if address.is_tls else None
    reader, writer = await asyncio.open_connection(address.host, address.port, ssl=context, limit=MOST_HEAD_BYTES)
    try:
        writer.write(_head(address, headers, len(body)) + body)
        with contextlib.suppress(ConnectionError):  # refused before all was sent: the answer may be there all the same
            await writer.drain()
        while (answer := _parse(await reader.readuntil(b"\r\n\r\n"))).status < 200:
            pass  # interim answers, such as 103
        return answer
    finally:
        writer.transport.abort()  # never waits, not even for the other side's goodbye


def _changed_ns(ca_file: Path | None) -> int:
    """Return when what is trusted was last changed; 0 where the system has no such file."""
    if ca_file is not None:
        return ca_file.stat().st_mtime_ns
    of_system = ssl.get_default_verify_paths().cafile
    return Path(of_system).stat().st_mtime_ns if of_system else 0


def _head(address: Address, headers: Mapping[str, str], length: int) -> bytes:
    lines = [
        f"POST {address.target} HTTP/1.1",
        f"Host: {address.authority}",
        "User-Agent: thresher-agent",
        "Connection: close",
        f"Content-Length: {length}",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")


def _parse(head: bytes) -> Answer:
    first, *lines = head.decode("latin-1").split("\r\n")
    version, _, rest = first.partition(" ")
    if not version.startswith("HTTP/1.") or not rest[:3].isdigit():
        raise ValueError(f"the answer is no HTTP/1.1: {first[:80]!r}")
    pairs = (line.partition(":") for line in lines if ":" in line)
    return Answer(int(rest[:3]), {name.strip().lower(): value.strip() for name, _, value in pairs})
