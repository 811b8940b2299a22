"""One HTTP request as the application sees it: its head, and its body read within bounds.

Decides: how much of a body is read, for how long, and how much all bodies may take together. Leaves out: what the
body means (`bodies.py`). Nothing is allocated for what a header only promises.
"""

import asyncio
import contextlib
from collections.abc import Iterator
from urllib.parse import parse_qsl

from agent.gateway.http.base import Receive, Scope
from agent.gateway.http.problems import Refused

BODY_TIMEOUT_S = 10.0
LINGER_S = 2.0
"""How long the rest of a refused body is read and dropped, so that the client gets to read why."""
LOOPBACK = {"localhost", "127.0.0.1", "[::1]"}


class ClientGone(Exception):
    """Whoever asked has closed the connection."""


class Room:
    """Bytes that the bodies of all requests may take in memory at the same time."""

    def __init__(self, most_bytes: int) -> None:
        self._free_bytes = most_bytes

    @contextlib.contextmanager
    def held(self) -> Iterator["Held"]:
        """Hold room for one request; all of it is given back at the end."""
        held = Held(self)
        try:
            yield held
        finally:
            self.give(-held.size_bytes)

    def give(self, size_bytes: int) -> None:
        """Take `size_bytes` out of the room; a negative number puts them back.

        Raises:
            Refused: They do not fit.
        """
        if size_bytes > self._free_bytes:
            raise Refused("too_busy", "other requests' bodies take all the memory there is for them: ask again")
        self._free_bytes -= size_bytes


class Held:
    """What one request holds of the room."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self.size_bytes = 0

    def grow(self, size_bytes: int) -> None:
        """Hold more.

        Raises:
            Refused: It does not fit.
        """
        self._room.give(size_bytes)
        self.size_bytes += size_bytes


class Request:
    """The head of a request, and its body on demand."""

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self._scope = scope
        self._receive = receive
        # The first of a repeated header: h11 lets Host and Content-Length come once only.
        self._headers: dict[bytes, bytes] = dict(reversed(scope["headers"]))
        self.unread = self.header("content-length", "0") != "0" or b"transfer-encoding" in self._headers
        """Whether there is more of the body."""

    def header(self, name: str, otherwise: str = "") -> str:
        """Return a header's value."""
        found = self._headers.get(name.encode())
        return otherwise if found is None else found.decode("latin-1")

    def parameters(self) -> dict[str, str]:
        """Return what follows the question mark.

        Raises:
            Refused: It cannot be read, or names something twice.
        """
        try:
            pairs = parse_qsl(self._scope["query_string"].decode("ascii"), True, True, max_num_fields=8)
        except ValueError as exc:
            raise Refused("bad_request", f"the query string cannot be read: {exc}") from exc
        found = dict(pairs)
        if len(found) != len(pairs):
            raise Refused("bad_request", "the query string names a parameter twice")
        return found

    def check_host(self) -> None:
        """Refuse what a web page sent here under a name of its own (DNS rebinding); a Unix socket has no such callers.

        Raises:
            Refused: The header `Host` names another host than this one's loopback.
        """
        server = self._scope.get("server")
        if server is None or server[1] is None:
            return
        name = self.header("host").rpartition(":")[0] if _has_port(self.header("host")) else self.header("host")
        if name.lower() not in LOOPBACK:
            raise Refused("foreign_host", f"the header Host says {name[:100]!r}: use localhost, 127.0.0.1 or [::1]")

    async def body(self, most_bytes: int, held: Held) -> bytes:
        """Return the body.

        Raises:
            Refused: It is larger than `most_bytes`, drips, or finds no room.
            ClientGone: The connection ended.
        """
        announced = self.header("content-length", "0")
        if not announced.isdecimal() or int(announced) > most_bytes:
            raise Refused("too_large", f"the body has {announced} bytes, {most_bytes} are allowed")
        chunks: list[bytes] = []
        try:
            async with asyncio.timeout(BODY_TIMEOUT_S):
                while self.unread:
                    chunk = await self._chunk()
                    held.grow(len(chunk))
                    chunks.append(chunk)
                    if held.size_bytes > most_bytes:
                        raise Refused("too_large", f"the body has more than the allowed {most_bytes} bytes")
        except TimeoutError as exc:
            raise Refused("body_timeout", f"the body was not here after {BODY_TIMEOUT_S:g} s") from exc
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    async def drop_rest(self) -> None:
        """Read and forget what is left of the body, for a short while."""
        with contextlib.suppress(TimeoutError, ClientGone):
            async with asyncio.timeout(LINGER_S):
                while self.unread:
                    await self._chunk()

    async def gone(self) -> None:
        """Return once whoever asked has closed the connection."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def _chunk(self) -> bytes:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        self.unread = message.get("more_body", False)
        found: bytes = message.get("body", b"")
        return found


def _has_port(host: str) -> bool:
    """Return whether a colon in `host` stands before a port, and not in an IPv6 address."""
    return host.rpartition(":")[2].isdecimal() and not host.endswith("]")
