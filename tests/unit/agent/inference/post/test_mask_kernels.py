"""Maps of classes against plain numpy."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from agent.inference.kernels.boxes.masks import argmax_pixels, argmax_planes, count_classes, pick_nearest

Floats = NDArray[np.float32]
any_scores = st.sampled_from([0.0, 0.25, 0.5, 0.5, -2.0, np.nan, np.inf, -np.inf])
matrices = st.tuples(st.integers(1, 6), st.integers(1, 50)).flatmap(
    lambda shape: hnp.arrays(np.float32, shape, elements=any_scores)
)


@settings(deadline=None, max_examples=60)
@given(matrices, st.integers(1, 20))
def test_both_layouts_find_each_pixels_class(scores: Floats, block: int) -> None:
    wanted = np.where(np.isnan(scores), -np.inf, scores).argmax(axis=0)
    planes, pixels = np.full(scores.shape[1], 99, np.uint8), np.full(scores.shape[1], 99, np.uint8)
    argmax_planes(scores, np.zeros(block, np.float32), np.zeros(block, np.int32), planes)
    argmax_pixels(np.ascontiguousarray(scores.T), pixels)
    np.testing.assert_array_equal(planes, wanted)
    np.testing.assert_array_equal(pixels, wanted)


def test_256_classes_have_numbers() -> None:
    scores = np.zeros((256, 1), np.float32)
    scores[255] = 1
    out = np.zeros(1, np.uint8)
    argmax_planes(scores, np.zeros(1, np.float32), np.zeros(1, np.int32), out)
    assert out.tolist() == [255]


@settings(deadline=None, max_examples=30)
@given(hnp.arrays(np.uint8, st.integers(0, 70)))
def test_each_class_is_counted(mask: NDArray[np.uint8]) -> None:
    counts = np.full(256, 9, np.int64)
    count_classes(mask, np.full((4, 256), 9, np.int64), counts)
    np.testing.assert_array_equal(counts, np.bincount(mask, minlength=256))


def test_pixels_are_picked_by_row_and_column() -> None:
    mask = np.arange(12, dtype=np.uint8).reshape(3, 4)
    rows, columns, out = np.array([2, 0]), np.array([3, 3, 0]), np.zeros((2, 3), np.uint8)
    pick_nearest(mask, rows, columns, out)
    np.testing.assert_array_equal(out, mask[rows][:, columns])
