"""Queries keep the numbers that they come in where these mean something, and have the shape that the model takes."""

from typing import Any

import numpy as np
import pytest

from agent.errors import BadQuery
from agent.inference.pre import Place, make_pre
from controller.errors import UnusableData
from controller.models.queries import as_queries, check_queries, check_values, drawn_queries
from wire.spec import AudioPre, ImagePre, PreSpec, SeriesPre, TensorPre, TensorSpec, TextPre

TENSOR = TensorSpec(name="x", shape=(-1, 3, 8, 8))
IMAGE = ImagePre(height=8, width=8, input=TENSOR)
AUDIO = AudioPre(samples=500, input=TensorSpec(name="x", shape=(-1, 80, 4)))


@pytest.mark.parametrize(
    ("given", "kind", "kept"),
    [
        ("uint8", "image", "uint8"),
        ("uint16", "image", "uint16"),
        ("int16", "audio", "int16"),
        ("float64", "audio", "float32"),
        ("uint8", "text", "uint8"),
        ("int64", "series", "float32"),
        ("float64", "tensor", "float32"),
        ("int64", "tensor", "int64"),
        ("uint8", "tensor", "float32"),
        ("int64", "audio", "int64"),
        ("bool", "audio", "bool"),
    ],
)
def test_whole_numbers_stay_where_they_mean_something(given: str, kind: str, kept: str) -> None:
    queries = as_queries(np.ones((2, 3), given), kind)
    assert (queries.dtype, queries.tolist()) == (np.dtype(kept), [[1, 1, 1]] * 2)


@pytest.mark.parametrize(
    ("queries", "pre"),
    [
        (np.zeros((2, 5, 7), np.uint8), IMAGE),
        (np.zeros((2, 5, 7, 4), np.uint16), IMAGE),
        (np.zeros((2, 500), np.int16), AUDIO),
        (np.zeros((2, 1, 500), np.float32), AUDIO),
        (np.zeros((2, 500, 1), np.uint8), AUDIO),
        (np.zeros((2, 1), np.float32), AUDIO.model_copy(update={"resize": "pad"})),
        (np.zeros((2, 600), np.float32), AUDIO.model_copy(update={"resize": "pad"})),
        (np.zeros((2, 3, 10), np.float32), SeriesPre(channels=3, length=8, difference=2, input=TENSOR)),
        (np.zeros((2, 9), np.uint8), TextPre(length=4, input=TENSOR)),
        (np.zeros((2, 3, 8, 8), np.float32), TensorPre(input=TENSOR)),
        (np.zeros((2, 3, 99), np.float32), SeriesPre(channels=3, length=8, resize="linear", input=TENSOR)),
    ],
)
def test_what_the_model_takes_passes(queries: Any, pre: PreSpec) -> None:
    check_queries(queries, pre, "here")


@pytest.mark.parametrize(
    ("queries", "pre", "says"),
    [
        (np.zeros((2, 5, 7), np.float32), IMAGE, "float32 of shape.*pictures are uint8 or uint16"),
        (np.zeros((2, 5, 7, 2), np.uint8), IMAGE, r"\(2, 5, 7, 2\)"),
        (np.zeros((2, 0, 7), np.uint8), IMAGE, r"\(2, 0, 7\)"),
        (np.zeros((2, 600), np.int16), AUDIO, r"\(2, 600\), the model takes \(n, 500\)"),
        (np.zeros((2, 500), np.int64), AUDIO, "inputs are int64; sound is of floats, int16, int32, uint8"),
        (np.zeros((2, 500), np.uint16), AUDIO, "inputs are uint16"),
        (np.zeros((2, 500), np.int8), AUDIO, "inputs are int8"),
        (np.zeros((2, 500), np.bool_), AUDIO, "inputs are bool"),
        (np.zeros((2, 2, 500), np.int16), AUDIO, r"\(2, 2, 500\), the model takes \(n, 500\)"),
        (np.zeros((2, 0), np.int16), AUDIO.model_copy(update={"resize": "pad"}), r"the model takes \(n, 1 or more\)"),
        (np.zeros((2, 9), np.bool_), TextPre(length=4, input=TENSOR), "inputs are bool; text is its UTF-8 bytes"),
        (
            np.zeros((2, 3, 9), np.float32),
            SeriesPre(channels=3, length=8, difference=2, resize="stream", input=TENSOR),
            "3, 10 or more",
        ),
        (np.zeros((2, 3, 8), np.float32), TensorPre(input=TENSOR), r"the model takes \(n, 3, 8, 8\)"),
        (
            np.zeros((2, 2, 8), np.float32),
            SeriesPre(channels=3, length=8, resize="linear", input=TENSOR),
            "3, 1 or more",
        ),
    ],
)
def test_what_it_does_not_take_is_refused_with_both_shapes(queries: Any, pre: PreSpec, says: str) -> None:
    with pytest.raises(UnusableData, match=f"here: .*{says}"):
        check_queries(queries, pre, "here")


def test_made_up_pictures_are_pictures_within_the_range_of_the_known_ones() -> None:
    known = np.random.default_rng(1).integers(10, 250, (5, 4, 6, 3)).astype(np.uint8)
    drawn = drawn_queries(known, "image", 7, seed=3)
    assert (drawn.dtype, drawn.shape) == (np.dtype("uint8"), (7, 4, 6, 3))
    assert (drawn >= known.min(axis=0)).all()
    assert (drawn <= known.max(axis=0)).all()
    with pytest.raises(UnusableData, match="not drawn from the range"):
        drawn_queries(known, "text", 7, seed=3)


@pytest.mark.parametrize("dtype", ["int64", "uint16", "bool", "int16", "int32", "uint8", "float16", "float64"])
def test_sound_is_taken_at_import_just_where_devices_take_it(dtype: str) -> None:
    queries = as_queries(np.ones((1, 500), dtype), "audio")
    on_device = make_pre(AUDIO, Place({"x": (-1, 80, 4)}))
    try:
        on_device.prepare(np.ones(500, dtype))
    except BadQuery:
        with pytest.raises(UnusableData, match="sound is of floats, int16, int32, uint8"):
            check_queries(queries, AUDIO, "here")
    else:
        check_queries(queries, AUDIO, "here")


def test_what_is_no_number_is_refused() -> None:
    for given in (np.ones(3, complex), np.array(["1", "2"])):
        with pytest.raises(ValueError, match=f"expected numbers, given dtype {given.dtype}"):
            as_queries(given, "table")


def with_one(value: float, *shape: int) -> Any:
    queries = np.zeros((2, *shape), np.float32)
    queries[1].flat[0] = value
    return queries


SERIES = SeriesPre(channels=1, length=3, input=TensorSpec(name="x", shape=(-1, 1, 3)))
CLASSES = TensorPre(input=TensorSpec(name="x", shape=(-1, 3), dtype="int32"))


@pytest.mark.parametrize(
    ("queries", "pre", "says"),
    [
        (with_one(np.nan, 500), AUDIO, r"sample 1 holds NaN, infinite or too loud values \(beyond 1e\+12\); clean it$"),
        (with_one(np.inf, 500), AUDIO, "sample 1 holds"),
        (with_one(1e8, 500), AUDIO.model_copy(update={"full_scale": 32768.0}), "too loud"),
        (with_one(np.nan, 3, 8, 8), TensorPre(input=TENSOR), "sample 1 holds NaN or infinite values; clean it$"),
        (with_one(np.nan, 1, 3), SERIES, r"sample 1 holds NaN.*or set pre\.nan in model\.yaml"),
        (with_one(np.inf, 1, 3), SERIES.model_copy(update={"nan": "zero"}), "infinite values; a missing value is NaN"),
        (with_one(0, 1, 3) * np.nan, SERIES.model_copy(update={"nan": "forward"}), "a channel without any value"),
        (with_one(300, 9), TextPre(length=4, input=TENSOR), "whole numbers from 0 to 255"),
        (with_one(0.5, 3), CLASSES, "does not fit the model's int32: whole numbers from -2147483648 to 2147483647"),
        (with_one(2.0**31, 3), CLASSES, "sample 1 does not fit the model's int32"),
        (np.array([[0, 0, 0], [0, 2**31, 0]]), CLASSES, "sample 1 does not fit the model's int32"),
    ],
)
def test_values_that_devices_refuse_are_refused_with_the_sample(queries: Any, pre: PreSpec, says: str) -> None:
    with np.errstate(invalid="ignore"), pytest.raises(UnusableData, match=f"here: .*{says}"):
        check_values(queries, pre, "here")


@pytest.mark.parametrize(
    ("queries", "pre"),
    [
        (np.full((2, 500), -(2**31), np.int32), AUDIO.model_copy(update={"full_scale": 2.0**31})),
        (with_one(np.nan, 1, 3), SERIES.model_copy(update={"nan": "forward"})),
        (with_one(-(2.0**31), 3), CLASSES),
        (np.array([[2**31 - 1] * 3]), CLASSES),
    ],
)
def test_values_that_devices_take_pass(queries: Any, pre: PreSpec) -> None:
    check_values(queries, pre, "here")
