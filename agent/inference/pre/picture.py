"""The bytes of a JPEG or PNG file -> pixels of 8 bits.

Decides: what is refused before a decoder sees it, since OpenCV takes half a file for a whole one and allocates whatever
a file's head promises. Files are turned as their EXIF orientation says; 16 bits a channel become 8 (the high byte),
transparency is dropped, grey becomes three equal channels. JPEGs of four colours (CMYK) are refused: how their inks mix
is not in the file. Leaves out: decoding itself, by OpenCV where it is installed, else by Pillow.
"""

import io
import struct
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from agent.errors import BadQuery
from agent.inference.pre.files import jpeg, png
from agent.inference.pre.files.head import Head

LARGEST_PIXELS = 32 * 1024 * 1024
"""Decoded they take 96 MiB; cameras for boards stop at 12 to 16 million."""

LONGEST_EDGE = 65_535
"""As in a JPEG; a longer one would make tables of its own size, from positions that lose their last digits."""

ORIENTATION = 0x0112
"""The tag of EXIF that says how the camera was held."""

GREY, CORNER = 128, 4
"""What libjpeg puts where codes are missing, and how many pixels along an edge are looked at."""
MORE_CODES = bytes(range(1, 255)) * 4
"""No marker stands in them, and no row of blocks of one colour."""

Bytes = NDArray[np.uint8]


class DecoderMissing(BadQuery):
    """A query is a JPEG or PNG file, and neither OpenCV nor Pillow is installed. Install the extra `camera`."""

    reason = "decoder_missing"


def decode_picture(content: Bytes) -> tuple[Bytes, Literal["rgb", "bgr"]]:
    """Return the pixels, shape (rows, columns, 3), and the order of their channels.

    Raises:
        BadQuery: No JPEG or PNG, cut off, too large, of four colours, or damaged.
        DecoderMissing: Nothing here decodes it.
    """
    held = content.tobytes()
    head = check_head(held)
    try:
        return _decoded(held, head, _by_opencv), "bgr"
    except ImportError:
        pass
    try:
        return _decoded(held, head, _by_pillow), "rgb"
    except ImportError as exc:
        raise DecoderMissing("the query is a file, and nothing here decodes it: install thresher[camera]") from exc


def _decoded(content: bytes, head: Head, decode: Callable[[bytes, Head], Bytes]) -> Bytes:
    pixels = decode(content, head)
    if sorted(pixels.shape[:2]) != sorted((head.rows, head.columns)):
        raise _another_size(pixels.shape[0], pixels.shape[1], head)
    if head.codes_end is not None and _has_grey_corner(pixels):
        # A picture that ended too early goes on with more codes; one that is whole does not see them.
        longer = content[: head.codes_end] + MORE_CODES + content[head.codes_end :]
        if not np.array_equal(decode(longer, head), pixels):
            raise BadQuery("the JPEG is damaged: its pixels end before the picture does")
    return pixels


def _has_grey_corner(pixels: Bytes) -> bool:
    """Return whether the pixels could end too early: those of one corner, wherever it was turned to, are grey."""
    columns = pixels[:, :CORNER], pixels[:, -CORNER:]
    return any((rows == GREY).all() for each in columns for rows in (each[:CORNER], each[-CORNER:]))


def _another_size(rows: int, columns: int, head: Head) -> BadQuery:
    return BadQuery(
        f"the file says that its picture has {head.rows} rows and {head.columns} columns, and holds one of {rows} and "
        f"{columns}"
    )


def check_head(content: bytes) -> Head:
    """Return what the file says of itself.

    Raises:
        BadQuery: It cannot be decoded, or should not be.
    """
    try:
        if content.startswith(jpeg.START):
            head = jpeg.jpeg_head(content)
        elif content.startswith(png.START):
            head = png.png_head(content)
        else:
            raise BadQuery(
                f"expected pixels (rows, columns, channels) or the bytes of a JPEG or PNG file, given {len(content)} "
                f"bytes that begin with {content[:8].hex(' ') or 'nothing'}"
            )
    except (IndexError, struct.error) as exc:
        raise BadQuery(f"the file is cut off after {len(content)} bytes") from exc
    if head.channels == 4 and content.startswith(jpeg.START):
        raise BadQuery("expected a JPEG of one or three colours, given one of four (CMYK): save it as RGB")
    if head.rows < 1 or head.columns < 1:
        raise BadQuery(f"expected a picture, given one of {head.rows} rows and {head.columns} columns")
    if max(head.rows, head.columns) > LONGEST_EDGE or head.rows * head.columns > LARGEST_PIXELS:
        raise BadQuery(
            f"a picture of {head.rows} rows and {head.columns} columns: {LARGEST_PIXELS} pixels are allowed, since it "
            "would take more memory than a worker has"
        )
    return head


def _by_opencv(content: bytes, _: Head) -> Bytes:
    import cv2

    cv2.setNumThreads(1)  # as many threads as the order gives belong to the engine
    try:
        pixels: Any = cv2.imdecode(np.frombuffer(content, dtype=np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as exc:
        raise BadQuery(f"the file cannot be decoded: {str(exc)[:200]}") from exc
    if pixels is None:
        raise BadQuery(f"the file of {len(content)} bytes cannot be decoded: it is damaged")
    return np.asarray(pixels, dtype=np.uint8)


def _by_pillow(content: bytes, head: Head) -> Bytes:
    from PIL import Image

    if content.startswith(png.START):
        png.check_rows(content)  # Pillow leaves those black that are not there
    Image.MAX_IMAGE_PIXELS = LARGEST_PIXELS  # of this worker, which is ours: nothing larger is decoded in it
    try:
        with Image.open(io.BytesIO(content), formats=("JPEG", "PNG")) as opened:
            if opened.size != (head.columns, head.rows):  # before memory is taken for it
                raise _another_size(opened.height, opened.width, head)
            return _turned(_three_channels(opened), _orientation(opened))
    except (OSError, ValueError, SyntaxError, struct.error, Image.DecompressionBombError) as exc:
        raise BadQuery(f"the file cannot be decoded: {str(exc)[:200]}") from exc


def _three_channels(opened: Any) -> Bytes:
    if opened.mode.startswith("I"):  # 16 bits of grey
        high = (np.asarray(opened).astype(np.int64) >> 8).astype(np.uint8)
        return np.repeat(high[:, :, np.newaxis], 3, axis=2)
    return np.asarray(opened.convert("RGB"), dtype=np.uint8)


def _orientation(opened: Any) -> Any:
    """Return what the file says of how the camera was held; 1, upright, where that cannot be read."""
    try:
        return opened.getexif().get(ORIENTATION, 1)
    except (OSError, ValueError, SyntaxError, struct.error):
        return 1


def _turned(pixels: Bytes, orientation: Any) -> Bytes:
    """Return the picture upright. EXIF counts from 1: pairs of turned, and of turned and mirrored ones."""
    rows, columns = pixels, pixels.transpose(1, 0, 2)
    turned = {
        2: rows[:, ::-1], 3: rows[::-1, ::-1], 4: rows[::-1],
        5: columns, 6: columns[:, ::-1], 7: columns[::-1, ::-1], 8: columns[::-1],
    }  # fmt: skip
    return np.ascontiguousarray(turned.get(orientation, rows))
