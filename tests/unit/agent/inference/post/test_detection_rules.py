"""Which boxes count, and which scores are candidates, where a rule decides at its very edge."""

from typing import Any

import numpy as np
import pytest

from tests.unit.agent.inference.post.box_kit import LETTERBOX, yolo


@pytest.mark.parametrize("agnostic", [False, True])
def test_boxes_in_the_padding_take_no_place_of_those_in_the_picture(agnostic: bool) -> None:
    """The best three lie above the picture, the others in it."""
    rows = [(60 * number, 40 if number < 3 else 300, 20, 20, 0.9 - 0.1 * number) for number in range(1, 7)]
    given = np.array([rows], np.float32).transpose(0, 2, 1).copy()
    answer = yolo(given, LETTERBOX.copy(), most=2, class_agnostic=agnostic)
    assert answer.values == pytest.approx((0.6, 0.5))
    assert [box[0] for box in answer.boxes] == [340.0, 460.0]


def test_a_box_in_the_padding_strikes_what_it_overlaps() -> None:
    """Boxes are suppressed in the model's pixels, as the model was trained to be read, and dropped behind it."""
    rows = [(60, 130, 20, 20, 0.9), (60, 131, 20, 20, 0.8), (200, 300, 20, 20, 0.7)]
    given = np.array([rows], np.float32).transpose(0, 2, 1).copy()
    assert yolo(given, LETTERBOX.copy(), most=1).values == pytest.approx((0.7,))


@pytest.mark.parametrize("threshold", [0.1, 0.25, 0.3, 0.6, 0.7, 0.9])
@pytest.mark.parametrize("fields", [{}, {"multi_label": True}, {"anchors_first": True}])
def test_a_score_of_the_threshold_is_no_candidate(threshold: float, fields: dict[str, Any]) -> None:
    """As in float32, in which a head says it: 0.3 is not greater than 0.3."""
    single = np.float32(threshold)
    for score, found in ((single, 0), (np.nextafter(single, np.float32(1)), 1)):
        given = np.array([[[20], [20], [8], [8], [score]]], np.float32)
        given = given.transpose(0, 2, 1).copy() if "anchors_first" in fields else given
        assert len(yolo(given, score_threshold=threshold, **fields).boxes) == found


@pytest.mark.parametrize("multi_label", [False, True])
@pytest.mark.parametrize("background", [False, True])
def test_a_class_without_a_number_is_the_lowest_of_a_softmax(multi_label: bool, background: bool) -> None:
    given = np.array([[[20], [20], [8], [8], [np.nan], [2.0], [1.0]]], np.float32)
    fields = {"multi_label": multi_label, "background": background, "score_threshold": 0.5}
    answer = yolo(given, activation="softmax", **fields)
    assert answer.classes == (1,)
    assert answer.values == pytest.approx((1 / (1 + np.exp(-1)),))
