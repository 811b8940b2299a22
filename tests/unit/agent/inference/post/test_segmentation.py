"""Maps of classes through the specification: layouts, the query's size, shares, refusals."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from agent.errors import BadBundle
from agent.inference.post import Post, Surroundings, make_post
from wire import spec

LABELS = ("soil", "leaf", "stone")


def made(*shape: int, geometry: Any = None, **fields: Any) -> Post:
    output = spec.TensorSpec(name="map", shape=shape)
    return make_post(spec.SegmentationPost(output=output, **fields), Surroundings(geometry=geometry))


def scores(*shape: int, seed: int = 1) -> NDArray[np.float32]:
    return np.random.default_rng(seed).random((1, *shape), dtype=np.float32)


def test_both_layouts_give_the_same_map_and_its_shares() -> None:
    planes = scores(3, 5, 7)
    wanted = planes[0].argmax(axis=0)
    first = made(1, 3, 5, 7, labels=LABELS).finish([planes])
    pixels = np.ascontiguousarray(planes.transpose(0, 2, 3, 1))
    second = made(1, 5, 7, 3, layout="NHWC", labels=LABELS).finish([pixels])
    for answer in (first, second):
        assert answer.mask is not None
        np.testing.assert_array_equal(answer.mask, wanted)
        assert answer.mask.dtype == np.uint8
    shares = np.bincount(wanted.reshape(-1), minlength=3) / 35
    assert first.classes == second.classes == tuple(np.argsort(-shares, kind="stable").tolist())
    assert first.values == tuple(shares[list(first.classes)])
    assert first.labels == tuple(LABELS[number] for number in first.classes)


def test_classes_that_do_not_occur_are_not_told_and_nan_is_lowest() -> None:
    planes = np.full((1, 3, 2, 2), np.nan, np.float32)
    planes[0, 2, 0, 0] = -7
    answer = made(1, 3, 2, 2).finish([planes])
    assert (answer.classes, answer.values) == ((0, 2), (0.75, 0.25))


def test_a_map_is_the_querys_own_not_the_next_ones() -> None:
    post = made(1, 3, 4, 4)
    first = post.finish([scores(3, 4, 4)])
    assert first.mask is not None
    before = first.mask.copy()
    post.finish([scores(3, 4, 4, seed=2)])
    np.testing.assert_array_equal(first.mask, before)


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 30), st.integers(1, 30), st.integers(0, 100), st.floats(0.3, 3), st.floats(-4, 4))
def test_the_querys_size_is_reached_by_the_nearest_cell(
    rows: int, columns: int, seed: int, scale: float, offset: float
) -> None:
    geometry = np.array([1.0, 1.0, 0.0, 0.0, 16.0, 12.0])  # of the model's picture, before the first query
    post = made(1, 2, 6, 8, geometry=geometry, resize="query")
    geometry[:] = [scale, scale / 2, offset, -offset, columns, rows]
    planes = scores(2, 6, 8, seed=seed)
    answer = post.finish([planes])
    small = planes[0].argmax(axis=0)
    assert answer.mask is not None
    for row, column in np.ndindex(rows, columns):
        down = np.clip(np.floor(((row + 0.5) * scale / 2 - offset) / 2), 0, 5)
        across = np.clip(np.floor(((column + 0.5) * scale + offset) / 2), 0, 7)
        assert answer.mask[row, column] == small[int(down), int(across)]
    assert answer.mask.shape == (rows, columns)


def test_queries_of_another_size_in_turns() -> None:
    geometry = np.array([1.0, 1.0, 0.0, 0.0, 8.0, 6.0])
    post, planes = made(1, 2, 6, 8, geometry=geometry, resize="query"), scores(2, 6, 8)
    for size in ((6, 8), (3, 4), (6, 8), (12, 16)):
        geometry[:] = [8 / size[1], 6 / size[0], 0, 0, size[1], size[0]]
        answer = post.finish([planes])
        assert answer.mask is not None
        assert answer.mask.shape == size
        wanted = np.repeat(np.repeat(planes[0].argmax(axis=0), 2, axis=0), 2, axis=1)
        if size == (12, 16):
            np.testing.assert_array_equal(answer.mask, wanted)


@pytest.mark.parametrize(
    ("shape", "fields", "told"),
    [
        ((1, 3, 5), {}, r"\(1, 3, 5\).*four axes"),
        ((1, 1, 5, 7), {}, "1 classes.*2 to 256"),
        ((1, 5, 7, 300), {"layout": "NHWC"}, "300 classes"),
        ((1, 3, 5, 7), {"labels": ("a",)}, "3 classes, `labels` has 1"),
        ((1, 3, 5, 7), {"resize": "query"}, "size of a picture"),
    ],
)
def test_what_does_not_fit_is_refused(shape: tuple[int, ...], fields: dict[str, Any], told: str) -> None:
    with pytest.raises(BadBundle, match=told):
        made(*shape, **fields)
