"""Labels of each kind: how they are given, how they are kept, and what is refused, with both shapes named."""

from typing import Any

import numpy as np
import pytest

from controller.errors import UnusableData
from controller.models.labels.arrays import are_known, as_labels, found_in, unlabelled
from controller.models.labels.check import check_judged, check_labels
from controller.models.labels.kinds import ANSWERED_AS, Judging, ModelKind
from wire.spec import (
    ClassificationPost,
    DetectionPost,
    Pipeline,
    PostSpec,
    RegressionPost,
    SegmentationPost,
    TensorPre,
    TensorSpec,
)

BOXES = np.array([[[0, 0, 4, 4], [0, 0, 0, 0]], [[1, 1, 3, 2], [2, 2, 9, 9]]], dtype=float)
CLASSES = np.array([[1, -1], [0, 1]])


def pipeline(post: PostSpec) -> Pipeline:
    return Pipeline(pre=TensorPre(input=TensorSpec(name="x", shape=(1, 2))), post=post)


def output(*shape: int) -> TensorSpec:
    return TensorSpec(name="y", shape=(1, *shape))


PIPELINES: dict[ModelKind, Pipeline] = {
    "classification": pipeline(ClassificationPost(output=output(3))),
    "segmentation": pipeline(SegmentationPost(output=output(3, 4, 5))),
    "sequence": pipeline(RegressionPost(output=output(7, 5))),
    "detection": pipeline(DetectionPost(output=output(4 + 2, 9))),
    "anomaly": pipeline(RegressionPost(output=output(1))),
    "embedding": pipeline(RegressionPost(output=output(8))),
    "regression": pipeline(RegressionPost(output=output(2))),
}


@pytest.mark.parametrize(
    ("kind", "given", "dtype", "shape"),
    [
        ("classification", [0, 2.0, 1], "int64", (3,)),
        ("regression", [0.5, 1.5, 2.5], "float32", (3, 1)),
        ("anomaly", [True, False, True], "int64", (3,)),
        ("segmentation", np.zeros((3, 4, 5, 1), np.uint8), "int16", (3, 4, 5)),
        ("sequence", [[1, 2, -100], [3, -1, -1], [0, 0, 0]], "int64", (3, 3)),
        ("embedding", [1, 2, 3], "float32", (3, 0)),
        ("segmentation", None, "float32", (3, 0)),
    ],
)
def test_one_form_of_each_kind(kind: ModelKind, given: Any, dtype: str, shape: tuple[int, ...]) -> None:
    labels = as_labels(kind, given, 3, "here")
    assert (labels.dtype.name, labels.shape) == (dtype, shape)
    assert np.array_equal(as_labels(kind, labels, 3, "here"), labels)  # what is kept reads again


def test_boxes_come_as_two_arrays_or_as_one() -> None:
    labels = as_labels("detection", (BOXES, CLASSES), 2, "here")
    assert labels.shape == (2, 2, 5)
    assert labels[1, 1].tolist() == [2, 2, 9, 9, 1]
    assert np.array_equal(as_labels("detection", labels, 2, "here"), labels)


def test_unknown_tokens_are_minus_one() -> None:
    assert as_labels("sequence", [[1, -100]], 1, "here").tolist() == [[1, -1]]


@pytest.mark.parametrize(
    ("kind", "given", "says"),
    [
        ("segmentation", np.zeros((2, 4)), r"masks have shape \(2, 4\); \(n, rows, columns\)"),
        ("segmentation", np.full((2, 4, 4), 0.5), "masks must be whole numbers, given float64"),
        ("sequence", np.zeros((2, 4, 4), int), r"tokens have shape \(2, 4, 4\); \(n, length\)"),
        ("detection", BOXES, r"boxes have shape \(2, 2, 4\); \(n, most, 5\) is needed"),
        ("detection", (BOXES, CLASSES[:, :1]), r"boxes have shape \(2, 2, 4\) and classes \(2, 1\)"),
        ("anomaly", np.zeros((2, 2)), r"labels have shape \(2, 2\); each sample needs one class number"),
    ],
)
def test_other_forms_are_refused(kind: ModelKind, given: Any, says: str) -> None:
    with pytest.raises(UnusableData, match=f"^here: {says}"):
        as_labels(kind, given, 2, "here")


def test_arrays_of_a_file_are_found_by_the_names_of_their_kind() -> None:
    arrays = {"inputs": np.zeros(2), "labels": np.zeros(2), "masks": np.ones(2), "boxes": BOXES, "classes": CLASSES}
    assert found_in(arrays, "segmentation", "labels") is arrays["labels"]  # named, or the default that is there
    del arrays["labels"]
    assert found_in(arrays, "segmentation", "labels") is arrays["masks"]
    assert found_in(arrays, "embedding", "labels") is None
    assert found_in(arrays, "sequence", "labels") is None
    assert found_in(arrays, "detection", "labels")[1] is arrays["classes"]
    with pytest.raises(KeyError, match="labels"):
        found_in(arrays, "classification", "labels")
    del arrays["classes"]
    with pytest.raises(KeyError, match="classes"):
        found_in(arrays, "detection", "labels")


def with_box(*values: float) -> Any:
    labels = as_labels("detection", (BOXES, CLASSES), 2, "here")
    labels[0, 0] = values
    return labels


@pytest.mark.parametrize(
    ("kind", "labels", "says"),
    [
        ("classification", np.array([0, 3]), "labels run from 0 to 3, the model has classes 0 to 2"),
        ("anomaly", np.array([0, 2]), "labels run from 0 to 2; 0 is normal, 1 anomalous"),
        ("segmentation", np.full((1, 4, 5), 255, np.int16), "masks run up to 255, the model has 0 to 2; -1 stands"),
        ("sequence", np.array([[5]]), "tokens run up to 5, the model has 0 to 4; -1 stands for none"),
        ("detection", with_box(0, 0, 4, 4, 2), "classes of boxes run from 0 to 2, the model has 0 to 1"),
        ("detection", with_box(4, 0, 0, 4, 1), r"box 0 of sample 0 is \[4.0, 0.0, 0.0, 4.0\]; left, top, right"),
        ("regression", np.array([[np.nan, 1]]), "a label is NaN or infinite"),
    ],
)
def test_labels_that_the_model_cannot_give_are_refused(kind: ModelKind, labels: Any, says: str) -> None:
    with pytest.raises(UnusableData, match=says):
        check_labels(kind, labels, PIPELINES[kind], "here")


@pytest.mark.parametrize("kind", PIPELINES)
def test_labels_that_fit_pass(kind: ModelKind) -> None:
    fitting: dict[ModelKind, Any] = {
        "classification": np.array([0, 2]),
        "anomaly": np.array([0, 1]),
        "segmentation": np.full((2, 4, 5), 2, np.int16),
        "sequence": np.array([[4, -1]] * 2),
        "detection": as_labels("detection", (BOXES, CLASSES), 2, "here"),
        "regression": np.zeros((2, 2)),
        "embedding": unlabelled(2),
    }
    check_labels(kind, fitting[kind], PIPELINES[kind], "here")
    check_judged(kind, fitting[kind], "here")
    assert are_known(kind, fitting[kind])
    assert ANSWERED_AS[kind] == PIPELINES[kind].post.kind


@pytest.mark.parametrize(
    ("kind", "labels", "says"),
    [
        ("anomaly", np.zeros(4, int), "all 4 samples are normal; AUROC needs both sorts"),
        ("anomaly", unlabelled(4), "no labels.*add an array `labels` of 0"),
        ("segmentation", np.full((2, 4, 5), -1), "every label is -1"),
        ("detection", np.full((2, 1, 5), -1.0), "there is no true box in any sample"),
        ("sequence", unlabelled(3), "add an array `tokens`"),
    ],
)
def test_what_no_metric_is_defined_for_is_refused(kind: ModelKind, labels: Any, says: str) -> None:
    with pytest.raises(UnusableData, match=says):
        check_judged(kind, labels, "here")


def test_judging_belongs_to_its_kind_and_its_tokens_differ() -> None:
    with pytest.raises(ValueError, match=r"judging.blank belongs to `kind: sequence`.*'anomaly'"):
        Judging(blank=1).check_kind("anomaly")
    with pytest.raises(ValueError, match="different tokens"):
        Judging(decode="ctc", blank=2, end=2)
    Judging(end=0).check_kind("sequence")  # the blank, 0 too, is none without ctc
