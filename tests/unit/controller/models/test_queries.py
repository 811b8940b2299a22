"""Queries keep the numbers that they come in where these mean something, and have the shape that the model takes."""

from typing import Any

import numpy as np
import pytest

from controller.errors import UnusableData
from controller.models.queries import as_queries, check_queries, drawn_queries
from wire.spec import AudioPre, ImagePre, PreSpec, SeriesPre, TensorPre, TensorSpec, TextPre

TENSOR = TensorSpec(name="x", shape=(-1, 3, 8, 8))
IMAGE = ImagePre(height=8, width=8, input=TENSOR)
AUDIO = AudioPre(samples=500, input=TENSOR)


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
        (np.zeros((2, 3, 8), np.float32), TensorPre(input=TENSOR), r"the model takes \(n, 3, 8, 8\)"),
        (np.zeros((2, 2, 8), np.float32), SeriesPre(channels=3, length=8, resize="linear", input=TENSOR), "3, any"),
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
