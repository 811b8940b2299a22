"""The bytes of a JPEG or PNG file -> pixels of 8 bits.

Decides: what is refused before a decoder sees it, since OpenCV takes half a file for a whole one and allocates whatever
a file's head promises. Files are turned as their EXIF orientation says; 16 bits a channel become 8 (the high byte),
transparency is dropped, grey becomes three equal channels. JPEGs of four colours (CMYK) are refused: how their inks mix
is not in the file. Leaves out: decoding itself, by OpenCV where it is installed, else by Pillow.
"""

import io
import struct
import zlib
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from agent.errors import BadQuery

LARGEST_PIXELS = 32 * 1024 * 1024
"""Decoded they take 96 MiB; cameras for boards stop at 12 to 16 million."""

LONGEST_EDGE = 65_535
"""As in a JPEG; a longer one would make tables of its own size, from positions that lose their last digits."""

JPEG_START, PNG_START = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
BARE_MARKERS = (0x01, *range(0xD0, 0xD9))
"""Markers of a JPEG without a length."""
FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Markers that state the picture's size."""
SCAN_MARKER, END_MARKER = 0xDA, b"\xff\xd9"

Bytes = NDArray[np.uint8]


class DecoderMissing(BadQuery):
    """A query is a JPEG or PNG file, and neither OpenCV nor Pillow is installed. Install the extra `camera`."""

    reason = "decoder_missing"


@dataclass(frozen=True)
class Head:
    """What a file says of itself."""

    rows: int
    columns: int
    channels: int


def decode_picture(content: Bytes) -> tuple[Bytes, Literal["rgb", "bgr"]]:
    """Return the pixels, shape (rows, columns, 3), and the order of their channels.

    Raises:
        BadQuery: No JPEG or PNG, cut off, too large, of four colours, or damaged.
        DecoderMissing: Nothing here decodes it.
    """
    check_head(content.tobytes())
    try:
        return _by_opencv(content), "bgr"
    except ImportError:
        pass
    try:
        return _by_pillow(content), "rgb"
    except ImportError as exc:
        raise DecoderMissing("the query is a file, and nothing here decodes it: install thresher[camera]") from exc


def check_head(content: bytes) -> Head:
    """Return what the file says of itself.

    Raises:
        BadQuery: It cannot be decoded, or should not be.
    """
    try:
        if content.startswith(JPEG_START):
            head = jpeg_head(content)
        elif content.startswith(PNG_START):
            head = png_head(content)
        else:
            raise BadQuery(
                f"expected pixels (rows, columns, channels) or the bytes of a JPEG or PNG file, given {len(content)} "
                f"bytes that begin with {content[:8].hex(' ') or 'nothing'}"
            )
    except (IndexError, struct.error) as exc:
        raise BadQuery(f"the file is cut off after {len(content)} bytes") from exc
    if head.channels == 4 and content.startswith(JPEG_START):
        raise BadQuery("expected a JPEG of one or three colours, given one of four (CMYK): save it as RGB")
    if head.rows < 1 or head.columns < 1:
        raise BadQuery(f"expected a picture, given one of {head.rows} rows and {head.columns} columns")
    if max(head.rows, head.columns) > LONGEST_EDGE or head.rows * head.columns > LARGEST_PIXELS:
        raise BadQuery(
            f"a picture of {head.rows} rows and {head.columns} columns: {LARGEST_PIXELS} pixels are allowed, since it "
            "would take more memory than a worker has"
        )
    return head


def jpeg_head(content: bytes) -> Head:
    """Walk a JPEG's segments up to its pixels, and look for the end behind them."""
    head, at = None, 2
    while True:
        if content[at] != 0xFF:
            raise BadQuery(f"the JPEG is damaged at byte {at}")
        marker = content[at + 1]
        if marker == 0xFF or marker in BARE_MARKERS:
            at += 1 if marker == 0xFF else 2
            continue
        if marker in FRAME_MARKERS:
            rows, columns, channels = struct.unpack_from(">HHB", content, at + 5)
            head = Head(rows, columns, channels)
        if marker == SCAN_MARKER:
            break
        at += 2 + struct.unpack_from(">H", content, at + 2)[0]
    if head is None:
        raise BadQuery("the JPEG has pixels, and does not say how many")
    # Inside of pixels 0xFF is followed by 0 or a restart marker: this is the end, and a thumbnail's lies before them.
    if content.find(END_MARKER, at) < 0:
        raise BadQuery(f"the JPEG is cut off after {len(content)} bytes")
    return head


def png_head(content: bytes) -> Head:
    """Walk a PNG's chunks up to the last one, and check their sums: not every decoder does."""
    columns, rows, _, colour = struct.unpack_from(">IIBB", content, 16)
    at, name = len(PNG_START), b""
    while name != b"IEND":
        length, name = struct.unpack_from(">I4s", content, at)
        (told,) = struct.unpack_from(">I", content, at + 8 + length)
        if zlib.crc32(memoryview(content)[at + 4 : at + 8 + length]) != told:
            raise BadQuery(f"the PNG is damaged in its part {name!r} at byte {at}")
        at += 12 + length
    return Head(rows, columns, {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}.get(colour, 0))


def _by_opencv(content: Bytes) -> Bytes:
    import cv2

    cv2.setNumThreads(1)  # as many threads as the order gives belong to the engine
    try:
        pixels: Any = cv2.imdecode(content, cv2.IMREAD_COLOR)
    except cv2.error as exc:
        raise BadQuery(f"the file cannot be decoded: {str(exc)[:200]}") from exc
    if pixels is None:
        raise BadQuery(f"the file of {content.size} bytes cannot be decoded: it is damaged")
    return np.asarray(pixels, dtype=np.uint8)


def _by_pillow(content: Bytes) -> Bytes:
    from PIL import Image, ImageOps

    try:
        with Image.open(io.BytesIO(content.tobytes())) as opened:
            upright = ImageOps.exif_transpose(opened)
            if upright.mode.startswith("I"):  # 16 bits of grey
                high = (np.asarray(upright).astype(np.int64) >> 8).astype(np.uint8)
                return np.repeat(high[:, :, np.newaxis], 3, axis=2)
            return np.asarray(upright.convert("RGB"))
    except (OSError, ValueError, SyntaxError, struct.error, Image.DecompressionBombError) as exc:
        raise BadQuery(f"the file cannot be decoded: {str(exc)[:200]}") from exc
