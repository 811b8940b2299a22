"""Forms of a query, colours, dtypes, layouts, padding, geometry, and what is refused."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from agent.errors import BadBundle, BadQuery
from agent.inference.pre import Place, image, make_pre
from controller.models.preprocess import prepare
from tests.unit.agent.inference.image.kit import image_pre, made, picture, prepared
from wire import spec

few = settings(max_examples=40, deadline=None)
FIELDS = {"mean": (0.485, 0.456, 0.406), "deviation": (0.229, 0.224, 0.225)}


def test_forms_of_a_query() -> None:
    pixels = picture(5, 6)
    pre = image_pre(5, 6)
    alpha = np.concatenate([pixels, picture(5, 6, 1, seed=3)], axis=2)
    sixteen = pixels.astype(np.uint16) * 256 + 77
    expected = pixels.transpose(2, 0, 1).tolist()
    for query in (pixels, alpha, sixteen, sixteen.astype(">u2"), np.asfortranarray(pixels), np.flip(pixels[::-1], 0)):
        assert prepared(pre, query).tolist() == expected
    grey = pixels[:, :, 0]
    for one in (grey, grey[:, :, np.newaxis]):
        assert prepared(pre, one).tolist() == [grey.tolist()] * 3
    frozen = np.frombuffer(pixels.tobytes(), dtype=np.uint8).reshape(pixels.shape)
    assert prepared(pre, frozen).tolist() == expected


@pytest.mark.parametrize("query_colour", ["rgb", "bgr"])
@pytest.mark.parametrize("colour", ["rgb", "bgr"])
def test_colours_are_brought_to_the_models_order(query_colour: Any, colour: Any) -> None:
    pixels = picture(4, 3)
    given = prepared(image_pre(4, 3, query_colour=query_colour, colour=colour), pixels).transpose(1, 2, 0)
    assert given.tolist() == (pixels if query_colour == colour else pixels[:, :, ::-1]).tolist()


@pytest.mark.parametrize("query_colour", ["rgb", "bgr"])
def test_grey_is_opencvs(query_colour: Any) -> None:
    cv2: Any = pytest.importorskip("cv2")
    pixels = picture(40, 50)
    code = cv2.COLOR_RGB2GRAY if query_colour == "rgb" else cv2.COLOR_BGR2GRAY
    given = prepared(image_pre(40, 50, query_colour=query_colour, colour="grey"), pixels)
    assert given[0].tolist() == cv2.cvtColor(pixels, code).tolist()
    assert prepared(image_pre(40, 50, colour="grey"), pixels[:, :, 1])[0].tolist() == pixels[:, :, 1].tolist()


@few
@given(
    st.sampled_from(["float32", "float16", "int8", "uint8"]),
    st.sampled_from(["NCHW", "NHWC"]),
    st.sampled_from(["rgb", "bgr", "grey"]),
    st.sampled_from(["letterbox", "stretch"]),
    st.floats(0.004, 0.1),
    st.integers(-20, 20),
)
def test_levels_are_normalised_cast_and_quantised(
    dtype: Any, layout: Any, colour: Any, fit: Any, scale: float, zero_point: int
) -> None:
    whole = dtype.endswith("int8")
    zero_point = abs(zero_point) if dtype == "uint8" else zero_point
    affine = spec.Quantisation(scale=scale, zero_point=zero_point) if whole else None
    numbers = {name: (numbers[:1] if colour == "grey" else numbers) for name, numbers in FIELDS.items()}
    fields = {"layout": layout, "colour": colour, "fit": fit, "scale": 1 / 255, **numbers}
    pixels = picture(9, 14)
    expected = prepare(image_pre(8, 8, **fields), pixels[np.newaxis])[0]
    if whole:
        limits = np.iinfo(dtype)
        expected = np.clip(np.rint(expected / np.float32(scale)) + zero_point, limits.min, limits.max)
    given = prepared(image_pre(8, 8, dtype, quantisation=affine, **fields), pixels)
    assert given.dtype == dtype
    assert given.tolist() == expected.astype(dtype).tolist()


@pytest.mark.parametrize(
    ("scale", "step", "zero_point", "kernel"),
    [(1 / 255, 0.02, -14, "lay_out_levels"), (1.0, 2.0, 1, "lay_out_8"), (1e30, 1e-30, 5, "lay_out_8")],
)
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_where_no_line_gives_the_levels_a_table_does(
    scale: float, step: float, zero_point: int, kernel: str, layout: Any
) -> None:
    """Halves are rounded to even before the zero point is added: after it, odd ones go the other way."""
    affine = spec.Quantisation(scale=step, zero_point=zero_point)
    image = made(image_pre(16, 16, "int8", quantisation=affine, scale=scale, layout=layout))
    assert image.kernels[-1].name == kernel
    pixels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    with np.errstate(over="ignore"):
        values = np.arange(256, dtype=np.float32) * np.float32(scale) / np.float32(step)
    expected = np.clip(np.rint(values) + zero_point, -128, 127).reshape(16, 16)
    given: Any = image.prepare(pixels)[0]
    assert (given[1] if layout == "NCHW" else given[:, :, 1]).tolist() == expected.tolist()


def test_padding_follows_the_picture() -> None:
    """Wide, high, wide again: nothing of an earlier picture stays in the frame."""
    pre = image_pre(12, 12, fit="letterbox", pad_value=9)
    image = made(pre)
    for shape in ((6, 12), (12, 6), (6, 12), (12, 12), (3, 4), (12, 6)):
        pixels = picture(*shape)
        assert image.prepare(pixels)[0].tolist() == prepare(pre, pixels[np.newaxis])[0].tolist()


def test_many_sizes_take_no_more_room_than_a_few() -> None:
    image = made(image_pre(8, 8))
    for rows in range(1, 30):
        image.prepare(picture(rows, 9))
    assert len(image._ways) == 4


def test_buffers_stay_where_they_are_and_rows_of_a_batch_are_filled() -> None:
    pre = image_pre(4, 4)
    batch = np.zeros((3, 3, 4, 4), dtype=np.float32)
    image = make_pre(pre, Place({"x": (-1, 3, 4, 4)}, rows={"x": batch[1:2]}))
    pixels = picture(4, 4)
    assert image.prepare(pixels) is image.feeds[0]
    assert batch[1].tolist() == pixels.transpose(2, 0, 1).tolist()
    assert not batch[[0, 2]].any()


@pytest.mark.parametrize(
    ("fields", "shape", "expected"),
    [
        ({}, (50, 200), [0.5, 2.0, 0, 0, 200, 50]),
        ({"fit": "letterbox", "height": 640, "width": 640}, (720, 1280), [0.5, 0.5, 0, 140, 1280, 720]),
        ({"fit": "letterbox"}, (3, 2), [67 / 2, 100 / 3, 16, 0, 2, 3]),
        ({"fit": "crop", "short_edge": 120}, (60, 90), [2.0, 2.0, -40, -10, 90, 60]),
    ],
)
def test_geometry_leads_from_the_picture_to_the_models_pixels(fields: Any, shape: Any, expected: list[float]) -> None:
    pre = image_pre(**{"height": 100, "width": 100, **fields})
    prepared_by = made(pre)
    geometry = prepared_by.geometry
    assert geometry.tolist() == [1, 1, 0, 0, pre.width, pre.height]
    prepared_by.prepare(picture(*shape))
    assert prepared_by.geometry is geometry
    assert geometry == pytest.approx(expected)
    assert geometry[image.COLUMNS] == shape[1]


def test_a_white_spot_lies_where_geometry_says() -> None:
    pre = image_pre(64, 64, fit="letterbox", interpolation="area", pad_value=0)
    pixels = np.zeros((96, 160, 3), dtype=np.uint8)
    pixels[40:50, 100:120] = 255
    prepared_by = made(pre)
    plane: Any = prepared_by.prepare(pixels)[0, 0]
    rows, columns = np.nonzero(plane > 127)
    scale_x, scale_y, offset_x, offset_y = prepared_by.geometry[:4]
    box = [100 * scale_x + offset_x, 40 * scale_y + offset_y, 120 * scale_x + offset_x, 50 * scale_y + offset_y]
    assert [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1] == pytest.approx(box, abs=0.5)


@pytest.mark.parametrize(
    ("query", "says"),
    [
        (np.zeros((4, 4, 3), dtype=np.float32), r"uint8 or uint16 .* given float32 of shape \(4, 4, 3\)"),
        (np.full((4, 4, 3), np.nan), "given float64"),
        (np.zeros((4, 4, 3), dtype=np.int8), "given int8"),
        (np.zeros((4, 4, 3), dtype=np.uint32), "given uint32"),
        (np.zeros((4, 4), dtype=bool), "given bool"),
        (np.zeros((4, 4, 2), dtype=np.uint8), r"given uint8 of shape \(4, 4, 2\)"),
        (np.zeros((3, 4, 4), dtype=np.uint8)[:, :, :, np.newaxis], "given uint8"),
        (np.zeros((0, 4, 3), dtype=np.uint8), r"1 to \d+ pixels, given one of shape \(0, 4, 3\)"),
        (np.zeros((4, 0), dtype=np.uint8), "given one of shape"),
        (np.zeros((4, 4, 0), dtype=np.uint8), "given uint8 of shape"),
        (np.uint8(3), r"given uint8 of shape \(\)"),
        (np.zeros(0, dtype=np.uint8), "0 bytes that begin with nothing"),
        (np.zeros(9, dtype=np.uint8), "9 bytes that begin with 00 00"),
        (np.zeros(9, dtype=np.uint16), "given uint16 of shape"),
        (np.broadcast_to(np.uint8(1), (9000, 9000, 3)), "given one of shape"),
    ],
)
def test_what_is_no_picture_is_refused_and_the_next_one_is_answered(query: Any, says: str) -> None:
    prepared_by = made(image_pre(4, 4))
    with pytest.raises(BadQuery, match=says):
        prepared_by.prepare(query)
    assert prepared_by.prepare(picture(4, 4)).shape == (1, 3, 4, 4)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ((1, 3, 224, 224), r"float32 of shape \(1, 3, 4, 4\) \(NCHW, rgb\), the model takes \(1, 3, 224, 224\)"),
        ((-1, 4, 4, 3), r"the model takes \(1, 4, 4, 3\)"),
        ((-1, 48), r"the model takes \(-1, 48\)"),
    ],
)
def test_a_specification_that_does_not_fit_the_model(given: Any, says: str) -> None:
    with pytest.raises(BadBundle, match=says):
        make_pre(image_pre(4, 4), Place({"x": given}))


def test_axes_that_the_model_leaves_free_are_filled() -> None:
    assert make_pre(image_pre(4, 6), Place({"x": (-1, 3, -1, -1)})).feeds[0].shape == (1, 3, 4, 6)


def test_a_grey_model_may_have_no_axis_of_channels() -> None:
    pre = spec.ImagePre(height=4, width=6, colour="grey", input=spec.TensorSpec(name="x", shape=(-1, 4, 6)))
    assert prepared(pre, picture(4, 6)).shape == (4, 6)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"dtype": "uint8"}, "gives no quantisation"),
        ({"dtype": "float16", "scale": 1000.0}, "too large for float16"),
        ({"mean": (-3e38,), "scale": 1e36}, "too large for float32"),
    ],
)
def test_levels_that_the_dtype_cannot_hold(fields: Any, says: str) -> None:
    with pytest.raises(BadBundle, match=says):
        made(image_pre(4, 4, **fields))


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"dtype": "int64"}, "the input 'x' is int64"),
        ({"layout": "NHWC", "input": spec.TensorSpec(name="x", shape=(-1, 3, 4, 4))}, r"picture has \(-1, 4, 4, 3\)"),
        ({"antialias": True, "interpolation": "area"}, "antialias goes with bilinear"),
        ({"fit": "crop"}, "short_edge"),
        ({"fit": "stretch", "short_edge": 8}, "short_edge goes with crop: stretch"),
        ({"fit": "letterbox", "short_edge": 8}, "short_edge goes with crop: letterbox"),
        ({"mean": (1.0, 2.0)}, "mean has 2 numbers"),
        ({"deviation": (0.0,)}, "above 0"),
    ],
)
def test_a_specification_that_contradicts_itself(fields: Any, says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        spec.ImagePre.model_validate({**image_pre(4, 4).model_dump(), **dtype_as_input(fields)})


def dtype_as_input(fields: dict[str, Any]) -> dict[str, Any]:
    dtype = fields.pop("dtype", None)
    return fields if dtype is None else {"input": {"name": "x", "shape": (-1, 3, 4, 4), "dtype": dtype}}
