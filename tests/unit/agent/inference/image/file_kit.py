"""Files of pictures: made by Pillow or by hand, and what decoding makes of them."""

import io
import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.inference.pre.picture import decode_picture

Bytes = NDArray[np.uint8]


def file_of(pixels: NDArray[Any], kind: str = "PNG", mode: str | None = None, **options: Any) -> bytes:
    from PIL import Image

    held = io.BytesIO()
    image = Image.fromarray(pixels)
    (image if mode is None else image.convert(mode)).save(held, kind, **options)
    return held.getvalue()


def decoded(content: bytes) -> NDArray[Any]:
    """Return the pixels as RGB."""
    pixels, order = decode_picture(np.frombuffer(content, dtype=np.uint8))
    return pixels if order == "rgb" else pixels[:, :, ::-1]


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png_size(rows: int, columns: int) -> bytes:
    """Return what an IHDR of 8 bits a colour holds."""
    return struct.pack(">IIBBBBB", columns, rows, 8, 2, 0, 0, 0)


def png_of(pixels: Bytes, before: bytes, size: bytes) -> bytes:
    """Return a PNG written by hand: its first chunks, the body of its IHDR, the pixels."""
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    size_chunk = chunk(b"IHDR", size) if size else b""
    return b"\x89PNG\r\n\x1a\n" + before + size_chunk + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
