"""Files that are not what they say, or not whole: refused with a reason, whichever decoder is installed."""

import sys
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.errors import BadQuery
from agent.inference.pre import picture
from agent.inference.pre.files.head import Head
from tests.unit.agent.inference.image import kit
from tests.unit.agent.inference.image.file_kit import chunk, decoded, file_of, png_of, png_size

pillow: Any = pytest.importorskip("PIL.Image")
ENCODINGS: dict[str, dict[str, Any]] = {
    "baseline": {},
    "optimised": {"optimize": True},
    "progressive": {"progressive": True},
    "restarts": {"restart_marker_rows": 1},
}
SMALL = png_size(4, 4)


def lively(rows: int, columns: int) -> kit.Bytes:
    """Return a picture like a photograph: most blocks have some details."""
    noise = kit.picture(rows, columns, seed=4).astype(np.int64) // 5
    return np.asarray((kit.smooth(rows, columns) * 4 // 5 + noise).clip(0, 255), dtype=np.uint8)


def jpeg_of(encoding: str, **options: Any) -> bytes:
    return file_of(lively(160, 240), "JPEG", quality=85, **ENCODINGS[encoding], **options)


def middle_of(content: bytes) -> int:
    return content.index(b"\xff\xda") // 2 + len(content) // 2


# --- files that promise another size than they hold -------------------------------------------------------------------


@pytest.mark.usefixtures("decoder")
@pytest.mark.parametrize(
    ("before", "size"),
    [
        pytest.param(chunk(b"tEXt", SMALL + b"\0"), png_size(40, 50), id="behind a text"),
        pytest.param(chunk(b"IHDR", SMALL), png_size(40, 50), id="twice"),
        pytest.param(chunk(b"IHDR", SMALL), png_size(40, 50) + b"\0", id="twice, longer"),
        pytest.param(chunk(b"IHDR", SMALL + b"\0"), b"", id="too long"),
    ],
)
def test_a_png_says_its_size_first_and_once(before: bytes, size: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow believes the last of several: a small one in front would let any size pass."""
    monkeypatch.setattr(picture, "LARGEST_PIXELS", 100)
    with pytest.raises(BadQuery, match="has to be said first, and once"):
        decoded(png_of(kit.picture(40, 50), before, size))


@pytest.mark.usefixtures("decoder")
def test_a_jpeg_says_its_size_once() -> None:
    content = file_of(lively(40, 50), "JPEG")
    frame = content.index(b"\xff\xc0")
    segment = content[frame : frame + 2 + int.from_bytes(content[frame + 2 : frame + 4], "big")]
    with pytest.raises(BadQuery, match="a second time how large"):
        decoded(content[:frame] + segment + content[frame:])


@pytest.mark.usefixtures("decoder")
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_what_is_decoded_has_the_size_that_was_checked(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picture, "check_head", lambda _: Head(3, 2, 3))
    with pytest.raises(BadQuery, match="3 rows and 2 columns, and holds one of 8 and 6"):
        decoded(file_of(kit.picture(8, 6), kind))


def test_pillow_decodes_nothing_beyond_the_limit_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    monkeypatch.setattr(pillow, "MAX_IMAGE_PIXELS", None)
    decoded(file_of(kit.picture(4, 4)))
    assert pillow.MAX_IMAGE_PIXELS == picture.LARGEST_PIXELS


# --- JPEGs of which a part is missing or overwritten ------------------------------------------------------------------


@pytest.mark.usefixtures("decoder")
@pytest.mark.parametrize("encoding", ["baseline", "optimised", "restarts"])
def test_half_a_jpeg_with_an_end_is_refused(encoding: str) -> None:
    """Both decoders take it for a whole one, and fill the rest with grey."""
    content = jpeg_of(encoding)
    with pytest.raises(BadQuery, match="the JPEG is damaged"):
        decoded(content[: middle_of(content)] + b"\xff\xd9")


@pytest.mark.usefixtures("decoder")
@pytest.mark.parametrize("orientation", range(1, 9))
def test_pixels_that_end_too_early_are_seen_whichever_way_the_picture_is_turned(orientation: int) -> None:
    exif = pillow.Exif()
    exif[0x0112] = orientation
    content = jpeg_of("baseline", exif=exif)
    with pytest.raises(BadQuery, match="end before the picture does"):
        decoded(content[: middle_of(content)] + b"\xff\xd9")


@pytest.mark.usefixtures("decoder")
@pytest.mark.parametrize("encoding", ["baseline", "restarts"])
@pytest.mark.parametrize("fill", [0x00, 0xFF])
def test_an_empty_sector_in_a_jpeg_is_refused(encoding: str, fill: int) -> None:
    content = jpeg_of(encoding)
    at = middle_of(content)
    with pytest.raises(BadQuery, match="the JPEG is damaged at byte"):
        decoded(content[:at] + bytes([fill]) * 512 + content[at + 512 :])


@pytest.mark.usefixtures("decoder")
@pytest.mark.parametrize("encoding", ["baseline", "optimised", "restarts"])
def test_a_jpeg_without_its_middle_is_refused(encoding: str) -> None:
    content = jpeg_of(encoding)
    at = middle_of(content)
    with pytest.raises(BadQuery, match="the JPEG is damaged"):
        decoded(content[:at] + content[at + 2048 :])


@pytest.mark.usefixtures("decoder")
def test_restart_markers_are_all_there_and_in_order() -> None:
    content = jpeg_of("restarts")
    first, second = content.index(b"\xff\xd1"), content.index(b"\xff\xd2")
    assert decoded(content[:-2] + b"\xff\xd3" + content[-2:]).shape == (160, 240, 3)  # one more, behind the last row
    for spoilt in (
        content[:first] + content[first + 2 :],
        content[:first] + b"\xff\xd2" + content[first + 2 : second] + b"\xff\xd1" + content[second + 2 :],
    ):
        with pytest.raises(BadQuery, match="9 restart markers"):
            decoded(spoilt)
    interval = content.index(b"\xff\xdd")
    with pytest.raises(BadQuery, match="does not announce"):
        decoded(content[:interval] + content[interval + 6 :])


@pytest.mark.usefixtures("decoder")
def test_a_progressive_jpeg_that_lacks_scans_is_refused() -> None:
    """Both decoders give a picture without details. A cut inside of the last scan is not seen."""
    content = jpeg_of("progressive")
    scans = [at for at in range(len(content) - 1) if content[at : at + 2] == b"\xff\xda"]
    assert len(scans) > 5
    for first, second in pairwise(scans):
        with pytest.raises(BadQuery, match=r"cut off: it ends after \d+ scans"):
            decoded(content[: (first + second) // 2] + b"\xff\xd9")


# --- what is whole is taken -------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("decoder")
@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("level", [0, 127, 128, 255])
def test_an_even_picture_is_no_damage(encoding: str, level: int) -> None:
    """Its codes may be zeros alone; grey of 128 is what libjpeg puts where codes are missing."""
    pixels = np.full((600, 500, 3), level, dtype=np.uint8)
    assert (decoded(file_of(pixels, "JPEG", quality=90, **ENCODINGS[encoding])) == level).all()


@pytest.mark.usefixtures("decoder")
def test_a_frame_that_a_camera_has_filled_up_is_no_damage() -> None:
    content = jpeg_of("baseline")
    for filled in (content[:-2] + bytes(500) + content[-2:], content + bytes(500)):
        assert decoded(filled).tolist() == decoded(content).tolist()


def test_a_grey_frame_is_no_damage() -> None:
    pixels = np.full((64, 64, 3), 128, dtype=np.uint8)
    pixels[16:48, 16:48] = lively(32, 32)
    given = decoded(file_of(pixels, "JPEG", quality=95)).astype(int)
    assert (given[:8] == 128).all()
    assert np.abs(given - pixels).mean() < 8


@settings(max_examples=40)
@given(
    st.integers(1, 40),
    st.integers(1, 40),
    st.sampled_from(list(ENCODINGS)),
    st.sampled_from([1, 50, 95, 100]),
    st.integers(0, 2),
    st.booleans(),
)
def test_jpegs_of_any_size_and_coding_are_taken(
    rows: int, columns: int, encoding: str, quality: int, subsampling: int, grey: bool
) -> None:
    pixels = kit.picture(rows, columns)
    options: dict[str, Any] = {} if grey else {"subsampling": subsampling}
    options |= {"quality": quality, **ENCODINGS[encoding]}
    assert decoded(file_of(pixels[:, :, 0] if grey else pixels, "JPEG", **options)).shape == (rows, columns, 3)


@pytest.mark.usefixtures("decoder")
@pytest.mark.parametrize(("place", "value"), [(17, 26), (41, 13), (43, 2)])
def test_a_damaged_exif_is_no_reason_to_refuse_and_none_to_fall(place: int, value: int) -> None:
    exif = pillow.Exif()
    exif[0x0112], exif[0x010F], exif[0x011A] = 6, "abc", 0.5
    content = file_of(kit.smooth(8, 16), "JPEG", exif=exif)
    at = content.index(b"Exif") + place
    assert sorted(decoded(content[:at] + bytes([value]) + content[at + 1 :]).shape) == [3, 8, 16]
