"""Files: JPEG and PNG by OpenCV and by Pillow, and what is refused before either sees it."""

import contextlib
import io
import struct
import sys
import zlib
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from agent.errors import BadQuery
from agent.inference.pre.files import jpeg, png
from agent.inference.pre.picture import DecoderMissing, check_head
from tests.unit.agent.inference.image import kit
from tests.unit.agent.inference.image.file_kit import chunk, decoded, file_of

pillow: Any = pytest.importorskip("PIL.Image")
Bytes = NDArray[np.uint8]


def png_sixteen(pixels: NDArray[Any], colour: int) -> bytes:
    """Return a PNG of 16 bits a channel, written by hand: Pillow writes none in colour."""
    head = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 16, colour, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    start = b"\x89PNG\r\n\x1a\n"
    return start + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def with_orientation(pixels: Bytes, number: int) -> bytes:
    exif = pillow.Exif()
    exif[0x0112] = number
    return file_of(pixels, "JPEG", quality=95, exif=exif)


@pytest.mark.usefixtures("decoder")
def test_forms_of_a_png() -> None:
    pixels = kit.picture(5, 7)
    alpha = np.concatenate([pixels, kit.picture(5, 7, 1, seed=2)], axis=2)
    assert decoded(file_of(pixels)).tolist() == pixels.tolist()
    assert decoded(file_of(alpha)).tolist() == pixels.tolist()
    grey = pixels[:, :, 0]
    assert decoded(file_of(grey)).tolist() == np.repeat(grey[:, :, np.newaxis], 3, axis=2).tolist()
    assert decoded(file_of(np.dstack([grey, grey]))).tolist() == np.repeat(grey[:, :, np.newaxis], 3, axis=2).tolist()
    palette = file_of(pixels, mode="P")
    assert decoded(palette).tolist() == np.asarray(pillow.open(io.BytesIO(palette)).convert("RGB")).tolist()


def png_of_rows(rows: list[bytes], size: tuple[int, int], interlaced: bool) -> bytes:
    head = struct.pack(">IIBBBBB", size[1], size[0], 8, 2, 0, 0, int(interlaced))
    content = zlib.compress(b"".join(b"\0" + row for row in rows))
    halves = content[: len(content) // 2], content[len(content) // 2 :]
    parts = [chunk(b"IHDR", head), *(chunk(b"IDAT", half) for half in halves), chunk(b"IEND", b"")]
    return png.START + b"".join(parts)


@pytest.mark.usefixtures("decoder")
@pytest.mark.parametrize("size", [(1, 1), (5, 7), (9, 3), (200, 160)])
@pytest.mark.parametrize("interlaced", [False, True])
def test_a_png_with_too_few_rows_is_refused(size: tuple[int, int], interlaced: bool) -> None:
    """Written by hand: all sums are right, and the stream of pixels is whole in itself."""
    pixels = kit.picture(*size)
    steps = png.PASSES if interlaced else ((0, 0, 1, 1),)
    seen = [pixels[row::down, column::right] for row, column, down, right in steps]
    rows = [row.tobytes() for part in seen for row in part if row.size]
    assert decoded(png_of_rows(rows, size, interlaced)).tolist() == pixels.tolist()
    with pytest.raises(BadQuery):
        decoded(png_of_rows(rows[:-1], size, interlaced))
    with pytest.raises(BadQuery):
        decoded(png_of_rows([*rows[:-1], rows[-1][:-1]], size, interlaced))


@pytest.mark.usefixtures("decoder")
def test_of_sixteen_bits_the_high_byte_is_taken() -> None:
    pixels = (kit.picture(4, 5).astype(np.uint16) << 8) + 200
    assert decoded(png_sixteen(pixels, 2)).tolist() == (pixels >> 8).tolist()
    grey = np.repeat(pixels[:, :, :1], 3, axis=2)
    assert decoded(png_sixteen(pixels[:, :, 0], 0)).tolist() == (grey >> 8).tolist()


def test_both_decoders_read_a_jpeg_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    for pixels in (kit.smooth(50, 70), kit.smooth(50, 70)[:, :, 0]):
        for progressive in (False, True):
            content = file_of(pixels, "JPEG", quality=90, progressive=progressive)
            by_opencv = decoded(content).astype(int)
            with monkeypatch.context() as patch:
                patch.setitem(sys.modules, "cv2", None)
                by_pillow = decoded(content)
            assert np.abs(by_opencv - by_pillow).max() <= 2
            assert np.abs(by_opencv - (pixels if pixels.ndim == 3 else pixels[..., np.newaxis])).max() < 30


@pytest.mark.usefixtures("decoder")
@pytest.mark.parametrize("number", range(1, 9))
def test_files_are_turned_as_their_orientation_says(number: int) -> None:
    pixels = kit.smooth(16, 32)
    turned = {
        1: pixels, 2: pixels[:, ::-1], 3: pixels[::-1, ::-1], 4: pixels[::-1], 5: pixels.transpose(1, 0, 2),
        6: np.rot90(pixels, -1), 7: pixels[::-1, ::-1].transpose(1, 0, 2), 8: np.rot90(pixels),
    }  # fmt: skip
    given = decoded(with_orientation(pixels, number)).astype(int)
    assert given.shape == turned[number].shape
    assert np.abs(given - turned[number]).max() < 40


def test_a_file_gives_what_its_pixels_give() -> None:
    pixels = kit.picture(20, 30)
    pre = kit.image_pre(8, 8, query_colour="bgr", colour="rgb")  # a file says its own order
    as_pixels = kit.image_pre(8, 8, query_colour="rgb", colour="rgb")
    query = np.frombuffer(file_of(pixels), dtype=np.uint8)
    assert kit.prepared(pre, query).tolist() == kit.prepared(as_pixels, pixels).tolist()


@pytest.mark.usefixtures("decoder")
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_file_that_is_cut_off_is_refused_wherever_it_is_cut(kind: str) -> None:
    """OpenCV takes half a JPEG for a whole one and fills the rest with grey."""
    content = file_of(kit.smooth(40, 60), kind)
    for length in {1, 3, 8, 20, len(content) // 3, len(content) // 2, len(content) - 10, len(content) - 1}:
        with pytest.raises(BadQuery, match=r"cut off|begin with"):
            decoded(content[:length])


def test_a_thumbnails_end_is_not_the_pictures() -> None:
    inside = file_of(kit.smooth(8, 8), "JPEG")
    content = file_of(kit.smooth(40, 60), "JPEG")
    with_thumbnail = content[:2] + b"\xff\xe1" + struct.pack(">H", len(inside) + 2) + inside + content[2:]
    assert decoded(with_thumbnail).shape == (40, 60, 3)
    with pytest.raises(BadQuery, match="cut off"):
        decoded(with_thumbnail[:-200])


@pytest.mark.usefixtures("decoder")
def test_four_colours_are_refused() -> None:
    with pytest.raises(BadQuery, match="four \\(CMYK\\): save it as RGB"):
        decoded(file_of(kit.smooth(8, 8), "JPEG", mode="CMYK"))


@pytest.mark.usefixtures("decoder")
@pytest.mark.parametrize("size", [(60_000, 60_000), (1 << 30, 1 << 30), (0, 5)])
def test_a_head_that_promises_too_much_is_refused(size: tuple[int, int]) -> None:
    content = file_of(kit.picture(4, 4))
    rows, columns = size
    head = struct.pack(">IIBBBBB", columns, rows, 8, 2, 0, 0, 0)
    with pytest.raises(BadQuery, match=f"{rows} rows and {columns} columns"):
        decoded(content[:8] + chunk(b"IHDR", head) + content[33:])


def flipped(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :]


@pytest.mark.usefixtures("decoder")
def test_a_damaged_jpeg_is_refused_or_gives_a_picture_and_never_crashes() -> None:
    content = file_of(kit.smooth(24, 24), "JPEG")
    for at in range(0, len(content), max(len(content) // 150, 1)):
        with contextlib.suppress(BadQuery):
            assert decoded(flipped(content, at)).ndim == 3


@pytest.mark.usefixtures("decoder")
def test_a_damaged_png_is_refused_wherever_the_damage_is() -> None:
    content = file_of(kit.smooth(24, 24))
    for at in range(len(content)):
        with pytest.raises(BadQuery):
            decoded(flipped(content, at))


@settings(max_examples=60, deadline=None)
@given(st.sampled_from([b"", jpeg.START, png.START]), st.binary(max_size=80))
def test_any_bytes_are_refused_or_have_a_head(start: bytes, rest: bytes) -> None:
    try:
        head = check_head(start + rest)
    except BadQuery:
        return
    assert head.rows * head.columns > 0


@pytest.mark.parametrize("spoil", [lambda c: c.replace(b"\xff\xc0", b"\xff\xee"), lambda c: c[:4] + b"\0\0" + c[6:]])
def test_a_jpeg_of_unknown_size_or_odd_segments(spoil: Callable[[bytes], bytes]) -> None:
    with pytest.raises(BadQuery):
        decoded(spoil(file_of(kit.smooth(8, 8), "JPEG")))


def test_other_files_are_named_by_how_they_begin() -> None:
    with pytest.raises(BadQuery, match="bytes that begin with 42 4d"):
        decoded(file_of(kit.smooth(8, 8), "BMP"))


def test_without_a_decoder_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    content = file_of(kit.smooth(8, 8))
    for module in ("cv2", "PIL"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(DecoderMissing, match=r"install thresher\[camera\]"):
        decoded(content)
    assert issubclass(DecoderMissing, BadQuery)  # a serving worker refuses the query, and goes on


def test_opencv_decodes_on_one_thread() -> None:
    cv2.setNumThreads(2)
    decoded(file_of(kit.smooth(8, 8)))
    assert cv2.getNumThreads() == 1
