"""uvicorn, made to live in the gateway: connections that are cut when they dawdle, and no signals of its own.

Decides: how long a client may take for a request's head and for reading an answer, and that one connection too many is
told so. Leaves out: everything of HTTP (uvicorn with h11) and of requests (`app.py`). Imports uvicorn: import it late.
"""

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from agent.gateway.http.app import OneTooMany, PredictApp

HEAD_TIMEOUT_S = 10.0
"""From the connection, or a request's first byte, to the end of its head."""
READ_TIMEOUT_S = 10.0
"""How long a client may leave answers unread."""
KEEP_ALIVE_S = 75
GRACE_S = 1
"""For requests that are under way when the gateway ends."""
LONGEST_HEAD_BYTES = 16 * 1024


class Connection(H11Protocol):
    """One client's connection. Beyond `most` a client is told so; beyond twice as many it is not even heard."""

    most = 64

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._head_timer: asyncio.TimerHandle | None = None
        self._read_timer: asyncio.TimerHandle | None = None
        super().connection_made(transport)
        if len(self.connections) > 2 * self.most:
            transport.abort()
            return
        if len(self.connections) > self.most:
            self.app = OneTooMany(self.most)
        self._wait_for_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state is h11.IDLE and not self.transport.is_closing():
            self._wait_for_head()
        else:
            self._head_is_here()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._read_timer = self.loop.call_later(READ_TIMEOUT_S, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._answers_are_read()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_is_here()
        self._answers_are_read()
        super().connection_lost(exc)

    def _wait_for_head(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_TIMEOUT_S, self.transport.abort)

    def _head_is_here(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _answers_are_read(self) -> None:
        if self._read_timer is not None:
            self._read_timer.cancel()
            self._read_timer = None


class Server(uvicorn.Server):
    """Serves until `end`. The gateway's own signals stay as they are, and nothing wakes up without a request."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._ended = asyncio.Event()

    def end(self) -> None:
        """Have `serve` come to its end."""
        self._ended.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def main_loop(self) -> None:
        await self._ended.wait()

    def abort_rest(self) -> None:
        """Cut the connections that did not end in time."""
        for connection in list(self.server_state.connections):
            connection.transport.abort()


def make_server(app: PredictApp, most_connections: int) -> Server:
    """Return a server for `app`."""
    protocol: Any = type("BoundedConnection", (Connection,), {"most": most_connections})
    config = uvicorn.Config(
        app,
        http=protocol,
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        log_level="error",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=GRACE_S,
        h11_max_incomplete_event_size=LONGEST_HEAD_BYTES,
    )
    return Server(config)
