"""A PNG's chunks up to the last one: the size that all decoders take for the picture's, and whether the sums are right.

Decides: that the first chunk states the size, and no other one does. Decoders differ in which of several they believe.
Leaves out: the pixels, whose damage the sums show.
"""

import struct
import zlib

from agent.errors import BadQuery
from agent.inference.pre.files.head import Head

START = b"\x89PNG\r\n\x1a\n"
SIZE, SIZE_BYTES, LAST = b"IHDR", 13, b"IEND"
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}


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
