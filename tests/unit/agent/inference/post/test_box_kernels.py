"""Candidates, order, suppression and the way back, each against plain numpy."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from agent.inference.kernels.boxes.order import group_by_class, order_by_score
from agent.inference.kernels.boxes.scores import BLOCK, best_of_columns, best_of_rows
from agent.inference.kernels.boxes.suppress import mark_outside, place_boxes, single_below
from tests.unit.agent.inference.post.box_kit import LETTERBOX, Suppression, kept_by_numpy, placed_by_numpy, some_boxes

Floats = NDArray[np.float32]
NAN, INF = np.float32(np.nan), np.float32(np.inf)
any_scores = st.sampled_from([0.0, 0.25, 0.5, 0.5, 1.0, -2.0, NAN, INF, -INF])
matrices = st.tuples(st.integers(1, 6), st.integers(1, 40)).flatmap(
    lambda shape: hnp.arrays(np.float32, shape, elements=any_scores)
)


def best_by_numpy(scores: Floats) -> tuple[Floats, NDArray[np.int64]]:
    """NaN counts as the lowest; of equal ones the lower class."""
    lowest = np.where(np.isnan(scores), -INF, scores)
    return lowest.max(axis=0), lowest.argmax(axis=0)


@settings(deadline=None, max_examples=60)
@given(matrices)
def test_both_layouts_find_each_anchors_best_class(scores: Floats) -> None:
    anchors = scores.shape[1]
    wanted, wanted_classes = best_by_numpy(scores)
    best, classes = np.zeros(anchors, np.float32), np.zeros(anchors, np.int32)
    best_of_columns(scores, best, classes)
    np.testing.assert_array_equal(best, wanted)
    np.testing.assert_array_equal(classes, wanted_classes)
    rows = np.ascontiguousarray(np.concatenate([np.full((2, anchors), 9, np.float32), scores]).T)
    best[:], classes[:] = 7, 7
    best_of_rows(rows, 2, -1, 0.0, best, classes)
    np.testing.assert_array_equal(best, wanted)
    np.testing.assert_array_equal(classes, wanted_classes)


def test_anchors_beyond_a_block_are_looked_at_too() -> None:
    scores = np.random.default_rng(1).random((3, 2 * BLOCK + 5), dtype=np.float32)
    best, classes = np.zeros(scores.shape[1], np.float32), np.zeros(scores.shape[1], np.int32)
    best_of_columns(scores, best, classes)
    np.testing.assert_array_equal(classes, scores.argmax(axis=0))


def test_anchors_with_nothing_there_are_passed_over() -> None:
    rows = np.array([[0.5, 0.9], [0.6, 0.9], [np.nan, 0.9]], dtype=np.float32)
    best, classes = np.zeros(3, np.float32), np.zeros(3, np.int32)
    best_of_rows(rows, 1, 0, 0.5, best, classes)
    assert best.tolist() == [-INF, np.float32(0.9), -INF]


@settings(deadline=None, max_examples=60)
@given(hnp.arrays(np.float32, st.integers(0, 300), elements=st.floats(0, 1, width=32, exclude_min=True)))
def test_candidates_are_ordered_by_falling_score_and_stably(scores: Floats) -> None:
    kept = np.concatenate([scores, np.round(scores, 1) + np.float32(0.1)])  # ties are common
    order, spare, buckets = np.zeros(len(kept), np.int64), np.zeros(len(kept), np.int64), np.zeros(256, np.int64)
    order_by_score(kept.view(np.uint32), np.array([len(kept), 0, 0]), order, spare, buckets)
    np.testing.assert_array_equal(order, np.argsort(-kept, kind="stable"))


@settings(deadline=None, max_examples=30)
@given(hnp.arrays(np.int32, st.integers(0, 60), elements=st.integers(0, 4)))
def test_boxes_of_a_class_stay_in_their_order(classes: NDArray[np.int32]) -> None:
    group, starts = np.zeros(len(classes), np.int64), np.zeros(6, np.int64)
    group_by_class(classes, np.array([0, len(classes), 0]), 0, group, starts)
    np.testing.assert_array_equal(group, np.argsort(classes, kind="stable"))
    np.testing.assert_array_equal(starts, [int((classes < number).sum()) for number in range(6)])


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 60), st.integers(0, 10_000), st.sampled_from([0.0, 0.3, 0.45, 0.5, 1.0]), st.booleans())
def test_suppression_is_the_rule_word_by_word(count: int, seed: int, threshold: float, agnostic: bool) -> None:
    boxes, classes = some_boxes(count, seed)
    boxes = np.round(boxes / 5).astype(np.float32) * np.float32(5)  # so that boxes coincide, touch and have no area
    kept = Suppression(boxes, classes, agnostic=agnostic).kept(threshold)
    assert kept == kept_by_numpy(boxes, classes, threshold, agnostic)


@pytest.mark.parametrize(("threshold", "kept"), [(0.5, [0, 1]), (0.49, [0])])
def test_an_overlap_of_just_the_threshold_stays(threshold: float, kept: list[int]) -> None:
    boxes = np.array([[0, 0], [0, 0], [4, 4], [2, 1]], dtype=np.float32)  # 4 of 8 pixels
    assert Suppression(boxes, np.zeros(2, np.int32)).kept(threshold) == kept


def test_of_a_class_no_more_than_the_most_are_looked_for() -> None:
    boxes, classes = some_boxes(200, 5, spread=2000.0)
    suppression = Suppression(boxes, classes, agnostic=True)
    assert suppression.kept(0.5, most=7) == suppression.kept(0.5)[:7]


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 60), st.integers(0, 10_000), st.integers(1, 9), st.booleans())
def test_boxes_outside_are_not_counted_and_strike_all_the_same(
    count: int, seed: int, most: int, agnostic: bool
) -> None:
    boxes, classes = some_boxes(count, seed, spread=300.0)
    outside = np.random.default_rng(seed).permutation(count)[: count // 2].tolist()
    kept = Suppression(boxes, classes, agnostic=agnostic, outside=outside).kept(0.3, most)
    wanted = [rank for rank in kept_by_numpy(boxes, classes, 0.3, agnostic) if rank not in outside]
    assert kept == wanted[:most]


@pytest.mark.parametrize("threshold", [0.1, 0.3, 0.45, 0.5, 0.7, 1.0, 0.0])
def test_the_threshold_in_float32_decides_as_the_one_in_float64(threshold: float) -> None:
    single = np.float32(single_below(threshold))
    assert float(single) <= threshold
    around = [np.nextafter(single, np.float32(side)) for side in (-2, 2)] + [single]
    assert [float(value) > threshold for value in around] == [bool(value > single) for value in around]


def placed(boxes: list[list[float]], geometry: Any, most: int = 10) -> list[list[float]]:
    columns = np.ascontiguousarray(np.array(boxes, dtype=np.float32).T)
    counters, out = np.array([0, len(boxes), 0]), np.zeros((most, 4))
    scored = np.ones(len(boxes), np.float32), np.zeros(len(boxes), np.int32), np.ones(len(boxes), np.int32)
    where = np.array(geometry, dtype=np.float64)
    mark_outside(columns, counters, where, scored[-1])
    place_boxes(columns, *scored, where, counters, out, np.zeros(most), np.zeros(most, np.int64))
    found: list[list[float]] = out[: counters[2]].tolist()
    return found


def test_boxes_go_back_through_the_letterbox_and_are_cut_at_the_edges() -> None:
    assert placed([[100, 240, 200, 300]], LETTERBOX) == [[200, 200, 400, 320]]
    assert placed([[-8, 100, 700, 900]], LETTERBOX) == [[0, 0, 1280, 720]]


def test_a_box_in_the_padding_is_dropped_and_does_not_count() -> None:
    assert placed([[0, 0, 640, 139], [0, 140, 2, 142], [2, 140, 4, 142]], LETTERBOX, most=2) == [
        [0, 0, 4, 4],
        [4, 0, 8, 4],
    ]


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 40), st.integers(0, 10_000), st.floats(0.2, 3), st.floats(-50, 50))
def test_the_way_back_is_the_rule_word_by_word(count: int, seed: int, scale: float, offset: float) -> None:
    boxes, _ = some_boxes(count, seed)
    geometry = [scale, scale / 2, offset, -offset, 40.0, 30.0]
    corners, shown = placed_by_numpy(boxes, geometry)
    assert placed(boxes.T.tolist(), geometry, most=count) == corners[shown].tolist()


def test_without_geometry_boxes_stay_where_they_are() -> None:
    assert placed([[-8, 3, 700, 3]], [1, 1, 0, 0, 0, 0]) == [[-8, 3, 700, 3]]
