"""A PNG's chunks up to the last one: the size that all decoders take for the picture's, and whether the sums are right.

Decides: that the first chunk states the size, and no other one does. Decoders differ in which of several they believe.
Leaves out: the pixels, whose damage the sums show; but for their number, which not every decoder counts.
"""

import struct
import zlib
from collections.abc import Iterator

from agent.errors import BadQuery
from agent.inference.pre.files.head import Head

START = b"\x89PNG\r\n\x1a\n"
SIZE, SIZE_BYTES, LAST = b"IHDR", 13, b"IEND"
PIXELS = b"IDAT"
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
PASSES = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
"""First row and column, and the steps of both, of each pass of an interlaced picture (PNG specification, 8.2)."""

INFLATED_AT_ONCE = 2**16


def png_head(content: bytes) -> Head:
    """Walk the chunks and check their sums: not every decoder does.

    Raises:
        BadQuery: Damaged, or the size is not said first and once.
        IndexError, struct.error: Cut off.
    """
    at, name, head = len(START), b"", None
    while name != LAST:
        length, name = struct.unpack_from(">I4s", content, at)
        (told,) = struct.unpack_from(">I", content, at + 8 + length)
        if zlib.crc32(memoryview(content)[at + 4 : at + 8 + length]) != told:
            raise BadQuery(f"the PNG is damaged in its part {name!r} at byte {at}")
        if (name == SIZE) != (head is None) or (head is None and length != SIZE_BYTES):
            raise BadQuery(f"the PNG has a part {name!r} at byte {at}: its size (IHDR) has to be said first, and once")
        head = head or _stated(content, at + 8)
        at += 12 + length
    return head or Head(0, 0, 0)


def _stated(content: bytes, at: int) -> Head:
    columns, rows, _, colour = struct.unpack_from(">IIBB", content, at)
    return Head(rows, columns, CHANNELS.get(colour, 0))


def check_rows(content: bytes) -> None:
    """Count the bytes of all rows without keeping them, in a file whose head was checked.

    Raises:
        BadQuery: There are fewer than the picture has: a decoder that does not count leaves the rest black.
    """
    wanted = _row_bytes(content)
    inflater, held = zlib.decompressobj(), 0
    try:
        for part in _parts(content):
            while part and held < wanted:
                held += len(inflater.decompress(part, INFLATED_AT_ONCE))
                part = inflater.unconsumed_tail
    except zlib.error as exc:
        raise BadQuery(f"the PNG's pixels cannot be inflated: {exc}") from exc
    while held < wanted and (more := inflater.decompress(b"", INFLATED_AT_ONCE)):
        held += len(more)
    if held < wanted:
        raise BadQuery(f"the PNG ends before its picture does: its rows take {wanted} bytes, and {held} are there")


def _parts(content: bytes) -> Iterator[bytes]:
    at, name = len(START), b""
    while name != LAST:
        length, name = struct.unpack_from(">I4s", content, at)
        if name == PIXELS:
            yield content[at + 8 : at + 8 + length]
        at += 12 + length


def _row_bytes(content: bytes) -> int:
    """Return how many bytes all rows take, each with the one that names its filter."""
    columns, rows, bits, colour, _, _, interlaced = struct.unpack_from(">IIBBBBB", content, len(START) + 8)
    passes = PASSES if interlaced else ((0, 0, 1, 1),)
    found = 0
    for row, column, row_step, column_step in passes:
        high, wide = -(-(rows - row) // row_step), -(-(columns - column) // column_step)
        if high > 0 and wide > 0:
            found += high * (1 + (wide * bits * CHANNELS.get(colour, 0) + 7) // 8)
    return found
