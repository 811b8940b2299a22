"""Heads of every kind into boxes: against plain numpy, through pictures, and with outputs that are no numbers."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic import ValidationError

from agent.errors import BadBundle
from agent.inference.post import Answer, Surroundings, make_post
from tests.unit.agent.inference.post.box_kit import LETTERBOX, NOWHERE, tensor, yolo
from tests.unit.agent.inference.post.by_numpy import ACTIVATIONS, boxes_by_numpy, corners_of, same, sigmoid, softmax
from wire import spec

Floats = NDArray[np.float32]
CUTTING = (0.5, 0.25, 30.0, 40.0, 60.0, 80.0)
"""Of boxes within 100 pixels, most lie outside the query."""


def head(anchors: int, classes: int, seed: int) -> tuple[Floats, Floats]:
    """Return boxes (anchors, 4) as centre and size in pixels, and raw scores (anchors, classes)."""
    random = np.random.default_rng(seed)
    centres, sizes = random.uniform(0, 100, (anchors, 2)), random.uniform(1, 60, (anchors, 2))
    return np.hstack([centres, sizes]).astype(np.float32), random.normal(size=(anchors, classes)).astype(np.float32)


RULES = st.fixed_dictionaries(
    {
        "activation": st.sampled_from(["none", "sigmoid", "softmax"]),
        "score_threshold": st.sampled_from([0.0, 0.3, 0.6]),
        "iou_threshold": st.sampled_from([0.2, 0.45]),
        "most_candidates": st.sampled_from([10, 1000]),
        "most": st.sampled_from([1, 5, 100]),
        "class_agnostic": st.booleans(),
        "background": st.booleans(),
        "multi_label": st.booleans(),
    }
)


@settings(deadline=None, max_examples=60)
@given(
    st.integers(1, 60),
    st.integers(2, 5),
    st.integers(0, 1000),
    RULES,
    st.booleans(),
    st.sampled_from([NOWHERE, CUTTING]),
    st.booleans(),
)
def test_a_head_without_objectness_in_both_layouts(
    anchors: int,
    classes: int,
    seed: int,
    rules: dict[str, Any],
    first: bool,
    geometry: tuple[float, ...],
    holes: bool,
) -> None:
    boxes, raw = head(anchors, classes, seed)
    if rules["activation"] == "none":
        raw = sigmoid(raw).round(1).astype(np.float32)  # some are the threshold
    if holes:
        raw[np.random.default_rng(seed).random(raw.shape) < 0.2] = np.nan
    rows = np.hstack([boxes, raw])
    given = np.ascontiguousarray(rows if first else rows.T)[np.newaxis]
    post = spec.DetectionPost(output=tensor("head", *given.shape), anchors_first=first, **rules)
    with np.errstate(invalid="ignore"):  # of an anchor that has nothing but holes
        scores = ACTIVATIONS[rules["activation"]](raw).astype(np.float32)
    surroundings = Surroundings(geometry=np.array(geometry))
    same(make_post(post, surroundings).finish([given]), boxes_by_numpy(corners_of(boxes), scores, post, geometry))


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 60), st.integers(0, 1000), st.sampled_from(["none", "sigmoid"]), st.booleans(), st.booleans())
def test_a_head_with_objectness(anchors: int, seed: int, activation: str, first: bool, multi_label: bool) -> None:
    boxes, raw = head(anchors, 4, seed)
    if activation == "none":
        raw = sigmoid(raw).astype(np.float32)
    rows = np.hstack([boxes, raw])
    given = np.ascontiguousarray(rows if first else rows.T)[np.newaxis]
    rules: dict[str, Any] = {
        "activation": activation,
        "multi_label": multi_label,
        "anchors_first": first,
        "score_threshold": 0.2,
    }
    post = spec.DetectionPost(output=tensor("head", *given.shape), objectness=True, **rules)
    shares = ACTIVATIONS[activation](raw)
    scores = (shares[:, 1:] * shares[:, :1]).astype(np.float32)
    same(make_post(post, Surroundings()).finish([given]), boxes_by_numpy(corners_of(boxes), scores, post))


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 40), st.integers(0, 1000), st.sampled_from(["xy", "yx"]))
def test_corners_that_run_from_0_to_1(count: int, seed: int, order: Any) -> None:
    boxes, raw = head(count, 3, seed)
    shares = (corners_of(boxes) / 160).astype(np.float32)
    columns = [1, 0, 3, 2] if order == "yx" else [0, 1, 2, 3]
    post = spec.DetectionPost(
        head="boxes", normalised=True, activation="softmax", order=order,
        output=tensor("boxes", 1, count, 4), scores=tensor("scores", 1, count, 3),
    )  # fmt: skip
    geometry = np.array([1.0, 1.0, 0.0, 0.0, 320.0, 240.0])
    given = make_post(post, Surroundings(geometry=geometry.copy()))
    factor = np.array([320, 240, 320, 240], dtype=np.float64)
    wanted = boxes_by_numpy(
        (shares * factor).astype(np.float32), softmax(raw).astype(np.float32), post, tuple(geometry.tolist())
    )
    same(given.finish([np.ascontiguousarray(shares[:, columns])[np.newaxis], raw[np.newaxis]]), wanted)


def ssd(folder: Path, anchors: Floats, offsets: Floats, scores: Floats, **fields: Any) -> Answer:
    np.save(folder / "anchors.npy", anchors)
    count, classes = scores.shape
    post = spec.DetectionPost(
        head="ssd", anchors_file="anchors.npy", activation="sigmoid", **fields,
        output=tensor("offsets", 1, count, 4), scores=tensor("scores", 1, count, classes),
    )  # fmt: skip
    geometry = np.array([1.0, 1.0, 0.0, 0.0, 300.0, 200.0])
    return make_post(post, Surroundings(folder, geometry)).finish([offsets[np.newaxis], scores[np.newaxis]])


def test_offsets_are_decoded_from_their_anchors(tmp_path: Path) -> None:
    anchors = np.array([[0.5, 0.4, 0.2, 0.1], [0.25, 0.75, 0.1, 0.3]], dtype=np.float32)
    offsets = np.array([[1.0, -2.0, 0.5, -1.0], [0.0, 0.0, 0.0, 0.0]], dtype=np.float32)
    scores = np.array([[-9.0, 3.0], [-9.0, 2.0]], dtype=np.float32)
    answer = ssd(tmp_path, anchors, offsets, scores, background=True, labels=("nothing", "leaf"))
    y, x, h, w = 0.5 + 0.1 * 1 * 0.2, 0.4 - 0.1 * 2 * 0.1, 0.2 * np.exp(0.2 * 0.5), 0.1 * np.exp(-0.2 * 1.0)
    wanted = [(x - w / 2) * 300, (y - h / 2) * 200, (x + w / 2) * 300, (y + h / 2) * 200]
    np.testing.assert_allclose(answer.boxes[0], wanted, rtol=1e-5)
    np.testing.assert_allclose(answer.boxes[1], [180, 40, 270, 60], rtol=1e-5)
    assert answer.labels == ("leaf", "leaf")
    assert answer.classes == (1, 1)
    np.testing.assert_allclose(answer.values, sigmoid(scores[:, 1]), rtol=1e-6)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (np.zeros((3, 4), np.float32), r"shape \(3, 4\).*2 anchors"),
        (np.zeros((2, 3), np.float32), r"\(2, 3\)"),
        (np.full((2, 4), np.nan), "finite"),
        (np.array([["a"] * 4] * 2), "cannot be read"),
    ],
)
def test_anchors_that_do_not_fit_are_refused(tmp_path: Path, content: Any, told: str) -> None:
    with pytest.raises(BadBundle, match=told):
        ssd(tmp_path, content, np.zeros((2, 4), np.float32), np.zeros((2, 2), np.float32))


@pytest.mark.parametrize("name", ["../anchors.npy", "missing.npy"])
def test_anchors_come_from_the_bundle_alone(tmp_path: Path, name: str) -> None:
    np.save(tmp_path / "anchors.npy", np.zeros((2, 4), np.float32))
    (tmp_path / "bundle").mkdir()
    post = spec.DetectionPost(head="ssd", anchors_file=name, output=tensor("o", 1, 2, 4), scores=tensor("s", 1, 2, 2))
    with pytest.raises(BadBundle, match="anchors_file"):
        make_post(post, Surroundings(tmp_path / "bundle"))


def one_box(*values: float) -> Floats:
    """A head (1, 5, 3): the values at the first anchor, a sound box of score 0.5 at the second, nothing behind."""
    return np.array([[values, (50, 50, 10, 10, 0.5), (10, 10, 4, 4, 0)]], np.float32).transpose(0, 2, 1).copy()


NOT_FINITE = [np.nan, np.inf, -np.inf]


@pytest.mark.parametrize("bad", NOT_FINITE)
@pytest.mark.parametrize("place", range(5))
def test_what_is_not_finite_makes_no_box_and_harms_no_other(bad: float, place: int) -> None:
    values = [20.0, 20.0, 8.0, 8.0, 0.9]
    values[place] = bad
    answer = yolo(one_box(*values))
    assert answer.boxes == ((45.0, 45.0, 55.0, 55.0),)


@pytest.mark.parametrize("value", [*NOT_FINITE, 3e38, -3e38])
@pytest.mark.parametrize("activation", ["none", "sigmoid", "softmax"])
@pytest.mark.parametrize("multi_label", [False, True])
def test_an_output_of_nothing_but_that_is_answered_without_boxes(
    value: float, activation: str, multi_label: bool
) -> None:
    given = np.full((1, 7, 9), value, np.float32)
    answer = yolo(given, activation=activation, multi_label=multi_label, score_threshold=0.0)
    assert (answer.boxes, answer.classes, answer.values) == ((), (), ())


def test_negative_sizes_make_no_box() -> None:
    assert len(yolo(one_box(20, 20, -8, 8, 0.9)).boxes) == 1


def test_nothing_above_the_threshold_is_an_answer_without_boxes() -> None:
    answer = yolo(one_box(20, 20, 8, 8, 0.25))
    assert answer.boxes == ((45.0, 45.0, 55.0, 55.0),)
    assert yolo(one_box(20, 20, 8, 8, 0.25), score_threshold=0.5).boxes == ()


def test_boxes_come_back_through_the_letterbox() -> None:
    answer = yolo(one_box(320, 320, 100, 50, 0.9), LETTERBOX.copy())
    assert answer.boxes[0] == (540.0, 310.0, 740.0, 410.0)
    assert len(answer.boxes) == 1  # the other lies in the padding


def test_thousands_of_candidates_keep_the_best_ones() -> None:
    random = np.random.default_rng(1)
    given = random.uniform(0, 600, (1, 84, 8400)).astype(np.float32)
    given[0, 4:] = random.random((80, 8400))
    answer = yolo(given, most=300)
    assert len(answer.boxes) == 300
    assert list(answer.values) == sorted(answer.values, reverse=True)
    assert answer.values[0] == float(given[0, 4:].max())


def test_an_output_elsewhere_or_of_another_size_is_read_anew() -> None:
    post = make_post(spec.DetectionPost(output=tensor("head", -1, 5, -1)), Surroundings())
    first = one_box(20, 20, 8, 8, 0.9)
    assert len(post.finish([first]).boxes) == 2
    assert post.finish([one_box(20, 20, 8, 8, 0.1)]).boxes == ((45.0, 45.0, 55.0, 55.0),)
    beside = first + np.array([[100], [100], [0], [0], [0]], np.float32)
    assert len(post.finish([np.concatenate([first, beside], axis=2)]).boxes) == 4
    first[0, 4] = 0
    assert post.finish([first]).boxes == ()


def test_integer_heads_are_read_through_their_quantisation() -> None:
    quantised = spec.Quantisation(scale=0.5, zero_point=10)
    head = spec.TensorSpec(name="head", shape=(1, 5, 3), dtype="uint8", quantisation=quantised)
    post = make_post(spec.DetectionPost(output=head, score_threshold=0.4), Surroundings())
    raw = (np.clip(one_box(20, 20, 8, 8, 1) / 0.5, 0, 245) + 10).astype(np.uint8)
    assert post.finish([raw]).boxes[0] == (16.0, 16.0, 24.0, 24.0)
    assert {kernel.name for kernel in post.kernels} >= {"read_uint8", "suppress"}


@pytest.mark.parametrize(
    ("fields", "shape", "told"),
    [
        ({}, (1, 4, 10), r"\(1, 4, 10\).*\(1, 4 \+ classes, anchors\)"),
        ({}, (1, 84), r"\(1, 84\)"),
        ({"anchors_first": True}, (1, 84, 4), r"\(1, anchors, 4 \+ classes\)"),
        ({"objectness": True}, (1, 5, 10), r"\(1, 5 \+ classes, anchors\)"),
        ({"background": True}, (1, 5, 10), "no class"),
        ({"labels": ("a", "b")}, (1, 5, 10), "1 classes, `labels` has 2"),
    ],
)
def test_an_output_of_another_shape_is_refused(fields: dict[str, Any], shape: tuple[int, ...], told: str) -> None:
    with pytest.raises(BadBundle, match=told):
        make_post(spec.DetectionPost(output=tensor("head", *shape), **fields), Surroundings())


def test_boxes_and_scores_of_different_numbers_are_refused() -> None:
    post = spec.DetectionPost(head="boxes", output=tensor("b", 1, 7, 4), scores=tensor("s", 1, 8, 3))
    with pytest.raises(BadBundle, match=r"'s' has shape \(1, 8, 3\).*\(1, 7, classes\)"):
        make_post(post, Surroundings())


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"head": "ssd", "anchors_file": "a.npy"}, "`scores`"),
        ({"head": "ssd", "scores": tensor("s", 1, 2, 2)}, "anchors_file"),
        ({"objectness": True, "activation": "softmax"}, "objectness"),
        ({"head": "boxes", "scores": tensor("s", 1, 2, 2), "anchors_first": True}, "anchors_first"),
    ],
)
def test_parts_that_contradict_each_other_are_refused(fields: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        spec.DetectionPost(output=tensor("o", 1, 2, 4), **fields)
