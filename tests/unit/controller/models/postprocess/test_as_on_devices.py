"""Boxes and maps in plain numpy against the device's own post-processing, on the same outputs and geometry."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.inference.post import Answer, Surroundings, make_post
from controller.models.postprocess.boxes import Boxes, overlaps, read_boxes
from controller.models.postprocess.geometry import Geometry, geometry_of
from controller.models.postprocess.maps import class_maps
from wire.spec import DetectionPost, ImagePre, SegmentationPost, TensorPre, TensorSpec

ANCHORS, CLASSES = 60, 4
PICTURE = (20, 48, 3)


def picture_pre(**fields: Any) -> ImagePre:
    return ImagePre(height=32, width=32, input=TensorSpec(name="x", shape=(1, 3, 32, 32)), **fields)


def tensor(name: str, *shape: int) -> TensorSpec:
    return TensorSpec(name=name, shape=(1, *shape))


def on_device(post: Any, outputs: list[Any], geometry: Geometry, folder: Path | None = None) -> Answer:
    """Answer as a device does, whose buffer of the geometry holds the input's own size until a query has come."""
    buffer = np.array([1.0, 1.0, 0.0, 0.0, 32.0, 32.0])
    made = make_post(post, Surroundings(folder=folder, geometry=buffer))
    buffer[:] = [*geometry.scale, *geometry.offset, *geometry.size]
    return made.finish([each[np.newaxis] for each in outputs])


def same(found: Boxes, answer: Answer) -> None:
    assert len(answer.boxes) > 3
    assert found.classes.tolist() == list(answer.classes)
    np.testing.assert_allclose(found.scores, answer.values, rtol=1e-6)
    np.testing.assert_allclose(found.sides, np.reshape(answer.boxes, (-1, 4)), rtol=1e-5, atol=1e-4)


def yolo(**fields: Any) -> tuple[DetectionPost, np.ndarray[Any, Any]]:
    random = np.random.default_rng(3)
    before = 4 + int(fields.get("objectness", False))
    raw = random.normal(size=(before + CLASSES, ANCHORS)).astype(np.float32)
    raw[:4] = random.uniform(2, 30, (4, ANCHORS)) / (32 if fields.get("normalised") else 1)
    if fields.get("anchors_first"):
        raw = np.ascontiguousarray(raw.T)
    return DetectionPost(output=tensor("y", *raw.shape), **fields), raw


@pytest.mark.parametrize(
    "fields",
    [
        {"activation": "sigmoid", "score_threshold": 0.5},
        {"activation": "softmax", "score_threshold": 0.3, "anchors_first": True, "background": True},
        {"activation": "sigmoid", "objectness": True, "score_threshold": 0.2, "multi_label": True},
        {"activation": "sigmoid", "normalised": True, "class_agnostic": True, "most": 5, "most_candidates": 30},
    ],
    ids=["plain", "softmax", "objectness", "normalised"],
)
def test_boxes_of_a_head_like_yolos(fields: dict[str, Any]) -> None:
    post, raw = yolo(**fields)
    geometry = geometry_of(picture_pre(fit="letterbox"), PICTURE)
    assert [*geometry.scale, *geometry.offset, *geometry.size] == pytest.approx([32 / 48, 13 / 20, 0, 9, 48, 20])
    same(read_boxes(raw, post, geometry), on_device(post, [raw], geometry))


@pytest.mark.parametrize("head", ["ssd", "boxes"])
def test_boxes_of_heads_with_two_outputs(head: str, tmp_path: Path) -> None:
    random = np.random.default_rng(4)
    values = random.uniform(0, 0.6, (ANCHORS, 4)).astype(np.float32)
    scores = random.normal(size=(ANCHORS, CLASSES)).astype(np.float32)
    fields: dict[str, Any] = {"head": head, "activation": "softmax", "background": True, "score_threshold": 0.3}
    if head == "ssd":
        np.save(tmp_path / "anchors.npy", random.uniform(0.1, 0.9, (ANCHORS, 4)).astype(np.float32))
        fields["anchors_file"] = "anchors.npy"
    else:
        values[:, 2:] += values[:, :2]
        fields |= {"normalised": True, "order": "yx"}
    post = DetectionPost(output=tensor("y", ANCHORS, 4), scores=tensor("s", ANCHORS, CLASSES), **fields)
    geometry = geometry_of(picture_pre(fit="crop", short_edge=40), PICTURE)
    flat = np.concatenate([values.reshape(-1), scores.reshape(-1)])
    same(read_boxes(flat, post, geometry, tmp_path), on_device(post, [values, scores], geometry, tmp_path))


def test_a_query_that_is_no_picture_keeps_its_boxes() -> None:
    post, raw = yolo(score_threshold=0.9)
    found = read_boxes(raw, post, geometry_of(TensorPre(input=tensor("x", 3)), (3,)))
    same(found, make_post(post, Surroundings()).finish([raw[np.newaxis]]))


def test_a_head_of_another_shape_is_refused() -> None:
    post, raw = yolo()
    with pytest.raises(ValueError, match=r"'y' has shape \(1, 4, 60\)"):
        read_boxes(raw[:4], post, Geometry())


def test_overlaps_by_hand() -> None:
    one, other = np.array([[0.0, 0, 2, 2], [0, 0, 0, 0]]), np.array([[1.0, 0, 3, 2], [0, 0, 2, 1], [0, 0, 0, 0]])
    assert overlaps(one, other).tolist() == [[pytest.approx(1 / 3), 0.5, 0.0], [0.0, 0.0, 0.0]]


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("fit", ["stretch", "letterbox"])
def test_maps_at_the_querys_size(layout: str, fit: str) -> None:
    scores = np.random.default_rng(6).normal(size=(5, 16, 8)).astype(np.float32)
    raw = scores if layout == "NCHW" else np.ascontiguousarray(scores.transpose(1, 2, 0))
    post = SegmentationPost.model_validate({"layout": layout, "resize": "query", "output": tensor("y", *raw.shape)})
    pre = picture_pre(fit=fit)
    maps, classes = class_maps(raw[np.newaxis], post, pre, PICTURE[:2], PICTURE)
    answer = on_device(post, [raw], geometry_of(pre, PICTURE))
    assert (classes, maps.shape) == (5, (1, 20, 48))
    assert answer.mask is not None
    assert np.array_equal(maps[0], answer.mask)
    assert np.array_equal(class_maps(raw[np.newaxis], post, pre, (16, 8), PICTURE)[0][0], scores.argmax(axis=0))


def test_masks_of_a_third_size_are_refused() -> None:
    post, raw = SegmentationPost(output=tensor("y", 5, 16, 8)), np.zeros((1, 5, 16, 8))
    with pytest.raises(ValueError, match=r"masks are \(10, 10\).*maps, \(16, 8\), or the pictures' \(20, 48\)"):
        class_maps(raw, post, picture_pre(), (10, 10), PICTURE)
    with pytest.raises(ValueError, match=r"maps, \(16, 8\)$"):
        class_maps(raw, post, TensorPre(input=tensor("x", 3)), (10, 10), (3,))
