"""The gateway's end of one worker's channel: one query at a time goes out, its answer comes back.

Decides: what the end of a worker looks like from here. Leaves out: which query is next (`lane.py`).
"""

import asyncio
import contextlib
import json
import socket
from collections.abc import Callable, Mapping
from typing import Any

from agent.gateway.base import Query
from agent.serve.channel import HEAD, SMALL_BYTES, ChannelBroken, encode_header, sizes

Reply = Mapping[str, Any]


class WorkerLink:
    """A worker that serves `bundle`. `answered(reply)` is called for each answer, `ended()` once."""

    def __init__(self, run: str, bundle: str, answered: Callable[[Reply], None], ended: Callable[[], None]) -> None:
        self.run = run
        self.bundle = bundle
        self.busy = False
        self._number = 0
        self._answered = answered
        self._ended = ended
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None
        self._closed = False

    async def open(self, end: socket.socket) -> None:
        """Begin to listen on the channel's end."""
        end.setblocking(False)
        reader, self._writer = await asyncio.open_unix_connection(sock=end)
        self._reading = asyncio.create_task(self._read(reader), name=f"worker-{self.run}")

    def ask(self, number: int, query: Query) -> None:
        """Send a query; only while it is not busy. `number` comes back as the `id` of its answer."""
        assert self._writer is not None
        self.busy = True
        self._number = number
        header = {
            "encoding": query.encoding,
            "dtype": query.dtype,
            "shape": query.shape,
            "batch": query.batch,
        }
        head = encode_header(header, len(query.payload))
        if len(query.payload) <= SMALL_BYTES:
            self._writer.write(head + query.payload)  # in one piece: the worker wakes up once
            return
        self._writer.write(head)
        self._writer.write(query.payload)

    def close(self) -> None:
        """Let go of the worker: it ends once it has read to here."""
        self._closed = True
        if self._writer is not None:
            self._writer.close()

    async def _read(self, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, ChannelBroken, ValueError):
            while True:
                header_bytes, payload_bytes = sizes(await reader.readexactly(HEAD.size))
                body = await reader.readexactly(header_bytes + payload_bytes)
                self.busy = False
                self._answered({**json.loads(body[:header_bytes]), "id": self._number})
        if not self._closed:
            self.close()
        self._ended()
