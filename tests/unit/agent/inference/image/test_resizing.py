"""Resizing: the same as plain numpy, and as the libraries that people use."""

from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.models.preprocess import prepare
from tests.unit.agent.inference.image.kit import cases, image_pre, picture, prepared, resized, smooth

few = settings(max_examples=60, deadline=None)
sizes = st.integers(1, 70)
LARGE = [(720, 1280, 224, 224), (720, 1280, 640, 640), (1080, 1920, 320, 320), (224, 224, 384, 384), (480, 640, 48, 64)]
"""Rows and columns of the picture, then of the result: cameras and usual models."""


@few
@given(cases())
def test_every_specification_gives_what_plain_numpy_gives(case: Any) -> None:
    pre, pixels = case
    expected = prepare(pre, pixels[np.newaxis])[0]
    # Weights of 14 bits against exact ones; everything else is the same whole numbers on both sides.
    tolerance = 1 if pre.antialias or pre.interpolation == "area" else 0
    assert np.abs(prepared(pre, pixels) - expected).max() <= tolerance


@few
@given(sizes, sizes, sizes, sizes, st.sampled_from([1, 3, 4]))
def test_bilinear_is_opencvs_bit_for_bit(rows: int, columns: int, height: int, width: int, channels: int) -> None:
    pixels = picture(rows, columns, channels)
    three = np.repeat(pixels, 3, axis=2) if channels == 1 else np.ascontiguousarray(pixels[..., :3])
    expected = cv2.resize(three, (width, height), interpolation=cv2.INTER_LINEAR)
    assert np.abs(resized(image_pre(height, width), pixels).astype(int) - expected).max() <= BUILDS_DIFFER_BY


BUILDS_DIFFER_BY = 0 if cv2.getCPUFeaturesLine().count("SSE") else 1
"""On Arm, OpenCV has code of its own for some sizes."""


@pytest.mark.parametrize("size", LARGE)
def test_bilinear_is_opencvs_at_usual_sizes(size: tuple[int, int, int, int]) -> None:
    rows, columns, height, width = size
    pixels = picture(rows, columns)
    expected = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_LINEAR)
    assert np.abs(resized(image_pre(height, width), pixels).astype(int) - expected).max() <= BUILDS_DIFFER_BY


@few
@given(sizes, sizes, st.data())
def test_area_is_opencvs_where_a_picture_shrinks(rows: int, columns: int, data: Any) -> None:
    height, width = data.draw(st.integers(1, rows)), data.draw(st.integers(1, columns))
    pixels = picture(rows, columns)
    expected = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA).astype(int)
    assert np.abs(resized(image_pre(height, width, interpolation="area"), pixels) - expected).max() <= 1


@few
@given(sizes, sizes, sizes, sizes)
def test_antialias_is_pillows(rows: int, columns: int, height: int, width: int) -> None:
    pillow: Any = pytest.importorskip("PIL.Image")
    pixels = picture(rows, columns)
    expected = np.asarray(pillow.fromarray(pixels).resize((width, height), pillow.Resampling.BILINEAR)).astype(int)
    assert np.abs(resized(image_pre(height, width, antialias=True), pixels) - expected).max() <= 1


@pytest.mark.parametrize("size", LARGE)
@pytest.mark.parametrize("fields", [{"antialias": True}, {"interpolation": "area"}], ids=["antialias", "area"])
def test_weighted_sums_at_usual_sizes(size: tuple[int, int, int, int], fields: Any) -> None:
    pillow: Any = pytest.importorskip("PIL.Image")
    rows, columns, height, width = size
    if "interpolation" in fields and height > rows:
        return  # OpenCV has another rule for enlarging
    pixels = picture(rows, columns)
    by_pillow = np.asarray(pillow.fromarray(pixels).resize((width, height), pillow.Resampling.BILINEAR))
    by_opencv = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
    expected = (by_pillow if "antialias" in fields else by_opencv).astype(int)
    assert np.abs(resized(image_pre(height, width, **fields), pixels) - expected).max() <= 1


@few
@given(sizes, sizes)
def test_nearest_takes_the_pixel_that_pillow_and_opencv_take(source: int, wanted: int) -> None:
    """But where the middle lies exactly between two: there those two round their own ways."""
    pillow: Any = pytest.importorskip("PIL.Image")
    row = np.repeat(np.arange(source, dtype=np.uint8)[np.newaxis, :, np.newaxis], 3, axis=2)
    ours = resized(image_pre(1, wanted, interpolation="nearest"), row)[0, :, 0]
    clear = (2 * np.arange(wanted) + 1) * source % (2 * wanted) != 0
    by_pillow = np.asarray(pillow.fromarray(row).resize((wanted, 1), pillow.Resampling.NEAREST))[0, :, 0]
    by_opencv = cv2.resize(row, (wanted, 1), interpolation=cv2.INTER_NEAREST_EXACT).reshape(-1, 3)[:, 0]
    assert ours[clear].tolist() == by_pillow[clear].tolist() == by_opencv[clear].tolist()


@pytest.mark.parametrize("fields", [{}, {"antialias": True}, {"interpolation": "area"}, {"interpolation": "nearest"}])
@pytest.mark.parametrize("level", [0, 1, 127, 254, 255])
@pytest.mark.parametrize("size", [(3, 5), (64, 48), (997, 1), (1, 1500)])
def test_an_even_picture_stays_even(fields: Any, level: int, size: tuple[int, int]) -> None:
    pixels = np.full((*size, 3), level, dtype=np.uint8)
    assert set(resized(image_pre(17, 13, **fields), pixels).reshape(-1)) == {level}


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "area"])
def test_a_picture_of_the_right_size_is_taken_as_it_is(interpolation: Any) -> None:
    pixels = picture(9, 7)
    assert resized(image_pre(9, 7, interpolation=interpolation), pixels).tolist() == pixels.tolist()


@pytest.mark.parametrize("fit", ["letterbox", "crop"])
def test_crop_and_letterbox_are_the_whole_resized_picture_cut_or_framed(fit: Any) -> None:
    """As torchvision's Resize and CenterCrop, and YOLO's letterbox, do it with OpenCV's arithmetic."""
    pixels = smooth(72, 129)
    if fit == "crop":
        whole = cv2.resize(pixels, (40 * 129 // 72, 40))
        expected = whole[4:36, round((71 - 32) / 2) :][:, :32]
    else:
        whole = cv2.resize(pixels, (32, round(72 * 32 / 129)))
        expected = np.full((32, 32, 3), 114, dtype=np.uint8)
        expected[7:25] = whole
    ours = resized(image_pre(32, 32, fit=fit, short_edge=40 if fit == "crop" else None), pixels)
    assert np.abs(ours.astype(int) - expected).max() <= BUILDS_DIFFER_BY
