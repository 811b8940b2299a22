"""Frames between the gateway and a worker, over a Unix stream socket.

Decides: the framing and its bounds; what a query and an answer look like. Leaves out: what either side does with them.
Light on purpose: the gateway loads no numpy.

A frame is `<II` header bytes, payload bytes, then both. A query is a header of JSON (`encoding, dtype, shape, batch`)
and its payload. Answers are a payload without a header: numbers and the pixels of masks, since a worker whose caches
are cold spends longer on JSON than on all else. A refusal is a header, `reason, detail`. There is one query at a time,
so that none needs a name.

    channel.send_answers([Numbers((2, 0), (0.9, 0.1))], (1000, 52000, 900))
"""

import json
import socket
import struct
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any, NamedTuple

from agent.errors import AgentError, BadQuery

HEAD = struct.Struct("<II")
LARGEST_HEADER_BYTES = 64 * 1024
LARGEST_PAYLOAD_BYTES = 512 * 1024 * 1024
LARGEST_ANSWERS_BYTES = 8 * 1024 * 1024
SMALL_BYTES = 64 * 1024
_ANSWERS = struct.Struct("<Iqqq")
_COUNTS = struct.Struct("<HHHII")
TOO_MUCH = "the query takes more memory than the worker has left: send less at a time, or raise the worker's cap."
LAYOUTS_KEPT = 1024
"""Of answers of one workload: one, or one for each number of boxes."""

Header = Mapping[str, Any]


class Mask(NamedTuple):
    """A map of class numbers: a byte a pixel, row by row."""

    rows: int
    columns: int
    pixels: bytes


class Numbers(NamedTuple):
    """One answer: its classes, best first, and their probabilities or shares; or no classes, and values."""

    classes: Sequence[int]
    values: Sequence[float]
    boxes: Sequence[Sequence[float]] = ()
    """Left, top, right, bottom of each."""
    mask: Mask | None = None


Times = tuple[int, int, int]
"""Pre-processing, inference, post-processing [ns]."""


class ChannelBroken(AgentError):
    """The other end sent what is no frame."""

    reason = "channel_broken"


class TakesTooMuch(BadQuery):
    """A query takes more memory than its worker has left; the worker goes on. Send less, or raise the cap."""

    reason = "query_out_of_memory"


class Silent(Exception):
    """Nothing came for as long as `listen_for` says."""


def encode_header(header: Header, payload_bytes: int = 0) -> bytes:
    """Return the frame's head and header; the payload follows."""
    text = json.dumps(header, separators=(",", ":")).encode()
    return HEAD.pack(len(text), payload_bytes) + text


def encode_answers(answers: Sequence[Numbers], times_ns: Times) -> bytes:
    """Return the frame of a query's answers: one, or as many as its batch holds."""
    if len(answers) == 1 and answers[0].mask is None:
        return _single(answers[0], times_ns)
    parts = [b"", _ANSWERS.pack(len(answers), *times_ns)]
    for classes, values, boxes, mask in answers:
        counts = (len(classes), len(values), len(boxes))
        rows, columns, pixels = mask or (0, 0, b"")
        flat = chain.from_iterable(boxes)
        parts += [_layout(*counts).pack(*counts, rows, columns, *classes, *values, *flat), pixels]
    parts[0] = HEAD.pack(0, sum(map(len, parts)))
    return b"".join(parts)


def decode_answers(body: bytes) -> tuple[list[Numbers], Times]:
    """Return what `encode_answers` put into a frame's payload.

    Raises:
        ChannelBroken: It is none.
    """
    try:
        count, *times = _ANSWERS.unpack_from(body)
        place, answers = _ANSWERS.size, list[Numbers]()
        for _ in range(count):
            answer, place = _decoded(body, place)
            answers.append(answer)
    except struct.error as exc:
        raise ChannelBroken(f"no answers: {exc}") from exc
    return answers, (times[0], times[1], times[2])


def _decoded(body: bytes, place: int) -> tuple[Numbers, int]:
    """Return the answer that begins at `place`, and where it ends."""
    *counts, rows, columns = _COUNTS.unpack_from(body, place)
    layout = _layout(*counts)
    numbers = layout.unpack_from(body, place)[5:]
    place += layout.size
    end_classes, end_values = counts[0], counts[0] + counts[1]
    flat = numbers[end_values:]
    boxes = tuple(zip(flat[::4], flat[1::4], flat[2::4], flat[3::4], strict=True))
    pixels = body[place : place + rows * columns]
    if len(pixels) != rows * columns:
        raise ChannelBroken(f"a mask of {rows} x {columns} pixels has {len(pixels)} bytes")
    mask = Mask(rows, columns, pixels) if pixels else None
    return Numbers(numbers[:end_classes], numbers[end_classes:end_values], boxes, mask), place + len(pixels)


def _single(answer: Numbers, times_ns: Times) -> bytes:
    """Return the frame of one answer without a mask, packed at once."""
    classes, values, boxes, _ = answer
    counts = (len(classes), len(values), len(boxes))
    layout = _whole(*counts)
    flat = chain.from_iterable(boxes)
    return layout.pack(0, layout.size - HEAD.size, 1, *times_ns, *counts, 0, 0, *classes, *values, *flat)


@lru_cache(LAYOUTS_KEPT)
def _whole(classes: int, values: int, boxes: int) -> struct.Struct:
    return struct.Struct(f"<IIIqqqHHHII{classes}i{values}d{4 * boxes}d")


@lru_cache(LAYOUTS_KEPT)
def _layout(classes: int, values: int, boxes: int) -> struct.Struct:
    return struct.Struct(f"<HHHII{classes}i{values}d{4 * boxes}d")


def sizes(head: bytes) -> tuple[int, int]:
    """Return header and payload size [bytes].

    Raises:
        ChannelBroken: Larger than a frame may be.
    """
    header_bytes, payload_bytes = HEAD.unpack_from(head)
    if header_bytes > LARGEST_HEADER_BYTES or payload_bytes > LARGEST_PAYLOAD_BYTES:
        raise ChannelBroken(f"a frame of {header_bytes} + {payload_bytes} bytes is refused")
    return header_bytes, payload_bytes


class Channel:
    """A worker's end: blocking, one frame at a time."""

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        self._socket.setblocking(True)
        self._pending = b""
        self._text = b""
        self._header: Header = {}

    def listen_for(self, seconds: float) -> None:
        """Let `receive` wait so long at most for a frame to begin, or go on, before it is `Silent`."""
        # The kernel keeps the time: a timeout of Python's would cost a system call for each query.
        whole = int(seconds)
        limit = struct.pack("ll", whole, int((seconds - whole) * 1e6))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)

    def receive(self) -> tuple[Header, memoryview] | None:
        """Return the next frame; None at the end. The header belongs to the channel: do not change it.

        A frame that came whole costs one system call.

        Raises:
            ChannelBroken: What came is no frame.
            TakesTooMuch: There is no memory for the frame; it is taken off the channel.
            Silent: Nothing came in time; what has come of a frame is kept.
        """
        while len(self._pending) < HEAD.size:
            if not self._more():
                return None
        header_bytes, payload_bytes = sizes(self._pending)
        end = HEAD.size + header_bytes + payload_bytes
        if len(self._pending) < end and not self._rest(end):
            return None
        whole = self._pending
        self._pending = whole[end:]
        split = HEAD.size + header_bytes
        return self._parsed(whole[HEAD.size : split]), memoryview(whole)[split:end]

    def send_answers(self, answers: Sequence[Numbers], times_ns: Times) -> None:
        """Send a query's answers; a gateway that is gone does not hear them."""
        frame = encode_answers(answers, times_ns)
        if len(frame) > LARGEST_ANSWERS_BYTES:
            remedy = "ask fewer at a time" if len(answers) > 1 else "send a smaller picture, or serve with resize: none"
            detail = f"the answers take {len(frame)} bytes, {LARGEST_ANSWERS_BYTES} are allowed: {remedy}"
            self.refuse(BadQuery.reason, detail)
            return
        self._send(frame)

    def refuse(self, reason: str, detail: str) -> None:
        """Send why a query has no answer."""
        self._send(encode_header({"reason": reason, "detail": detail[:1000]}))

    def ended(self) -> bool:
        """Return whether the other end is gone, so that nobody waits for an answer. Takes nothing in."""
        try:
            return not self._pending and not self._socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except ConnectionResetError:
            return True

    def shut(self) -> None:
        """End the channel; `receive` in another thread returns None."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # the gateway was faster

    def close(self) -> None:
        self._socket.close()

    def _send(self, frame: bytes) -> None:
        try:
            self._socket.sendall(frame)
        except (BrokenPipeError, ConnectionResetError):
            return

    def _parsed(self, text: bytes) -> Header:
        """Return a header; a source's are all alike, so the last one is remembered."""
        if not text:
            return {}
        if text != self._text:
            try:
                self._header, self._text = json.loads(text), text
            except ValueError as exc:
                raise ChannelBroken(f"a frame's header is no JSON: {exc}") from exc
        return self._header

    def _more(self) -> bool:
        """Take in what has come; False at the end."""
        try:
            chunk = self._socket.recv(SMALL_BYTES)
        except BlockingIOError as exc:
            raise Silent from exc
        except ConnectionResetError:
            return False
        self._pending = self._pending + chunk if self._pending else chunk
        return bool(chunk)

    def _rest(self, end: int) -> bool:
        """Take in the rest of a frame that ends at `end`; False where the channel ends before."""
        have = len(self._pending)
        try:
            whole = bytearray(end)
        except MemoryError as exc:
            self._pending = b""
            return self._skipped(end - have, exc)
        whole[:have] = self._pending
        view = memoryview(whole)
        while have < end:
            count = self._into(view[have:])
            if count == 0:
                return False
            have += count
        try:
            self._pending = bytes(whole)
        except MemoryError as exc:
            self._pending = b""
            return self._skipped(0, exc)
        return True

    def _skipped(self, count: int, exc: MemoryError) -> bool:
        """Drop what is to come of a frame that there is no memory for; False where the channel ends before.

        Raises:
            TakesTooMuch: It is dropped.
        """
        scrap = memoryview(bytearray(SMALL_BYTES))
        while count > 0:
            taken = self._into(scrap[:count])
            if taken == 0:
                return False
            count -= taken
        raise TakesTooMuch(TOO_MUCH) from exc

    def _into(self, view: memoryview) -> int:
        """Wait for more of a frame that has begun, and return how much has come; 0 at the end."""
        while True:
            try:
                return self._socket.recv_into(view)
            except BlockingIOError:
                continue  # the gateway sends the rest
            except ConnectionResetError:
                return 0
