"""The gateway's end of one worker's channel: one query at a time goes out, its answer comes back.

Decides: what the end of a worker looks like from here. Leaves out: which query is next (`lane.py`).
"""

import asyncio
import base64
import contextlib
import json
import logging
import math
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from agent.gateway.base import Query
from agent.serve.channel import HEAD, SMALL_BYTES, Mask, Numbers, decode_answers, encode_header, sizes

log = logging.getLogger(__name__)

Reply = Mapping[str, Any]


class WorkerLink:
    """A worker that serves `bundle`. `answered(reply)` is called for each answer, `ended()` once."""

    def __init__(
        self,
        run: str,
        bundle: str,
        labels: Sequence[str],
        kind: str = "",
        *,
        answered: Callable[[Reply], None],
        ended: Callable[[], None],
    ) -> None:
        """Wait to be opened; `labels` of the bundle are put beside the classes that the worker answers with.

        `kind` is that of its post-processing: a detection's answers have boxes, be it none.
        """
        self.run = run
        self.bundle = bundle
        self._labels = labels
        self._kind = kind
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
        """Hand answers on until the channel ends; whatever fails here ends it, and what was asked is asked anew."""
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                while True:
                    header_bytes, payload_bytes = sizes(await reader.readexactly(HEAD.size))
                    body = await reader.readexactly(header_bytes + payload_bytes)
                    reply = self._reply(body[:header_bytes], body[header_bytes:])
                    self.busy = False
                    self._answered({**reply, "id": self._number})
        except Exception:  # outermost frame of a channel: a worker that says nonsense must not hold the lane up
            log.exception("channel of worker %s", self.run)
        finally:
            if not self._closed:
                self.close()
            self._ended()

    def _reply(self, header: bytes, payload: bytes) -> dict[str, Any]:
        """Return a refusal as it came, or answers with their labels; a value that is not finite becomes null."""
        if header:
            refusal: dict[str, Any] = json.loads(header)
            return refusal
        answers, times_ns = decode_answers(payload)
        return {"answers": [self._answer(answer) for answer in answers], "ns": times_ns}

    def _answer(self, answer: Numbers) -> dict[str, Any]:
        classes, values, boxes, mask = answer
        known = len(self._labels)
        labels = [self._labels[number] if 0 <= number < known else str(number) for number in classes] if known else []
        finite = [value if math.isfinite(value) else None for value in values]
        found: dict[str, Any] = {"classes": list(classes), "labels": labels, "values": finite}
        if self._kind == "detection":  # also where there is none
            found["boxes"] = list(map(list, boxes))
        return found if mask is None else found | {"mask": _mask(mask)}


def _mask(mask: Mask) -> dict[str, Any]:
    """Return a mask as JSON holds it; lists of numbers would be three times as long and many times as slow."""
    return {"rows": mask.rows, "columns": mask.columns, "pixels": base64.b64encode(mask.pixels).decode("ascii")}
