"""Frames between the gateway and a worker: a header of JSON and a payload of bytes, over a Unix stream socket.

Decides: the framing and its bounds; what a query and an answer are called. Leaves out: what either side does with them.
Light on purpose: the gateway loads no numpy.

A frame is `<II` header bytes, payload bytes, then both. Query: `encoding, dtype, shape, batch` and the payload. Answer:
`answers, ns` or `reason, detail`, no payload. There is one query at a time, so that none needs a name; one that has an
`id` all the same gets it back.
"""

import json
import socket
import struct
from collections.abc import Mapping
from typing import Any

from agent.errors import AgentError, BadQuery

HEAD = struct.Struct("<II")
LARGEST_HEADER_BYTES = 8 * 1024 * 1024
"""Answers are headers: a batch of 10,000 with their classes."""

LARGEST_PAYLOAD_BYTES = 512 * 1024 * 1024
SMALL_BYTES = 64 * 1024
_ENCODER = json.JSONEncoder(separators=(",", ":"))  # made once: `json.dumps` would make one for each header

Header = Mapping[str, Any]


class ChannelBroken(AgentError):
    """The other end sent what is no frame."""

    reason = "channel_broken"


def encode_header(header: Header, payload_bytes: int = 0) -> bytes:
    """Return the frame's head and header; the payload follows."""
    text = _ENCODER.encode(header).encode()
    return HEAD.pack(len(text), payload_bytes) + text


def sizes(head: bytes) -> tuple[int, int]:
    """Return header and payload size [bytes].

    Raises:
        ChannelBroken: Larger than a frame may be.
    """
    header_bytes, payload_bytes = HEAD.unpack(head)
    if header_bytes > LARGEST_HEADER_BYTES or payload_bytes > LARGEST_PAYLOAD_BYTES:
        raise ChannelBroken(f"a frame of {header_bytes} + {payload_bytes} bytes is refused")
    return header_bytes, payload_bytes


class Channel:
    """A worker's end: blocking, one frame at a time."""

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        self._socket.setblocking(True)
        self._text = b""
        self._header: Header = {}

    def fileno(self) -> int:
        return self._socket.fileno()

    def receive(self) -> tuple[Header, bytes] | None:
        """Return the next frame; None at the end. The header belongs to the channel: do not change it.

        Raises:
            ChannelBroken: What came is no frame.
        """
        head = self._exactly(HEAD.size)
        if head is None:
            return None
        header_bytes, payload_bytes = sizes(head)
        body = self._exactly(header_bytes + payload_bytes)
        if body is None:
            return None
        return self._parsed(body[:header_bytes]), body[header_bytes:]

    def send(self, header: Header) -> None:
        """Send a frame without a payload; a gateway that is gone does not hear it."""
        frame = encode_header(header)
        if len(frame) > LARGEST_HEADER_BYTES:
            detail = f"the answers take {len(frame)} bytes, {LARGEST_HEADER_BYTES} are allowed: ask fewer at a time"
            frame = encode_header({"id": header.get("id"), "reason": BadQuery.reason, "detail": detail})
        try:
            self._socket.sendall(frame)
        except (BrokenPipeError, ConnectionResetError):
            return

    def close(self) -> None:
        self._socket.close()

    def _parsed(self, text: bytes) -> Header:
        """Return a header; a source's are all alike, so the last one is remembered."""
        if text != self._text:
            try:
                self._header, self._text = json.loads(text), text
            except ValueError as exc:
                raise ChannelBroken(f"a frame's header is no JSON: {exc}") from exc
        return self._header

    def _exactly(self, wanted: int) -> bytes | None:
        try:
            first = self._socket.recv(min(wanted, SMALL_BYTES)) if wanted else b""
            if len(first) == wanted:
                return first
            if not first:
                return None
            return self._rest(first, wanted)
        except ConnectionResetError:
            return None

    def _rest(self, first: bytes, wanted: int) -> bytes | None:
        whole = bytearray(wanted)
        whole[: len(first)] = first
        view, have = memoryview(whole), len(first)
        while have < wanted:
            more = self._socket.recv_into(view[have:])
            if more == 0:
                return None
            have += more
        return bytes(whole)
