"""Pictures in plain numpy, by hand; the agent's kernels are held against it in `agent/inference/image`."""

from typing import Any

import numpy as np
import pytest

from controller.errors import UnusableData
from controller.models.preprocess import prepare
from wire.spec import ImagePre, TensorSpec


def image_pre(height: int, width: int, **fields: Any) -> ImagePre:
    channels = 1 if fields.get("colour") == "grey" else 3
    axes = (channels, height, width) if fields.get("layout", "NCHW") == "NCHW" else (height, width, channels)
    return ImagePre(height=height, width=width, input=TensorSpec(name="x", shape=(-1, *axes)), **{"scale": 1, **fields})


def grey(*rows: list[int]) -> Any:
    return np.array([rows], dtype=np.uint8)


def plane(pre: ImagePre, queries: Any) -> Any:
    return prepare(pre, queries)[0, 0].tolist()


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, [[15, 35]]),
        ({"interpolation": "area"}, [[15, 35]]),
        ({"antialias": True}, [[17, 33]]),  # weights 3 3 1 of 8: (10*3 + 20*3 + 30) / 7 = 17.1
        ({"interpolation": "nearest"}, [[20, 40]]),
    ],
)
def test_halving_a_row(fields: Any, expected: Any) -> None:
    assert plane(image_pre(1, 2, **fields), grey([10, 20, 30, 40])) == expected


def test_doubling_a_row_has_half_pixel_centres() -> None:
    assert plane(image_pre(1, 4), grey([0, 100])) == [[0, 25, 75, 100]]
    assert plane(image_pre(1, 4, interpolation="area"), grey([0, 100])) == [[0, 0, 100, 100]]
    assert plane(image_pre(1, 4, interpolation="nearest"), grey([0, 100])) == [[0, 0, 100, 100]]


def test_letterbox_puts_the_odd_row_below() -> None:
    pre = image_pre(4, 2, fit="letterbox", pad_value=7)
    assert plane(pre, grey([1, 2])) == [[7, 7], [1, 2], [7, 7], [7, 7]]


def test_crop_resizes_the_shorter_edge_and_cuts_the_middle() -> None:
    pre = image_pre(2, 2, fit="crop", short_edge=2)
    assert plane(pre, grey([1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, 6])) == [[3, 4], [3, 4]]


def test_colours_scale_and_layout() -> None:
    red = np.array([[[[200, 100, 50]]]], dtype=np.uint8)
    assert prepare(image_pre(1, 1, colour="bgr", layout="NHWC"), red).tolist() == [[[[50, 100, 200]]]]
    assert prepare(image_pre(1, 1, query_colour="bgr"), red).ravel().tolist() == [50, 100, 200]
    assert prepare(image_pre(1, 1, colour="grey"), red).ravel().tolist() == [124]  # 59.8 + 58.7 + 5.7
    normal = image_pre(1, 1, scale=0.01, mean=(1, 0, 0.5), deviation=(2, 1, 0.25))
    assert prepare(normal, red).ravel().tolist() == [0.5, 1.0, 0.0]


def test_sixteen_bits_and_transparency() -> None:
    deep = np.array([[[[0x12FF, 0x3400, 0x56AB, 0xFFFF]]]], dtype=np.uint16)
    assert prepare(image_pre(1, 1), deep).ravel().tolist() == [0x12, 0x34, 0x56]


@pytest.mark.parametrize(
    "queries",
    [
        np.zeros((1, 2, 2, 3), dtype=np.float32),
        np.zeros((1, 2, 2, 2), dtype=np.uint8),
        np.zeros((1, 0, 2, 3), dtype=np.uint8),
        np.zeros((0, 2, 2, 3), dtype=np.uint8),
        np.zeros((1, 9), dtype=np.uint8),
    ],
)
def test_what_is_no_set_of_pictures(queries: Any) -> None:
    with pytest.raises(UnusableData, match="pictures"):
        prepare(image_pre(2, 2), queries)
