"""Each kind's metric against cases worked out by hand; the plug-ins over raw outputs."""

from typing import Any

import numpy as np
import pytest

from controller.choose.intervals.evidence import Matches, Ratios, RightOrWrong, Scores, SquaredErrors
from controller.choose.intervals.loss import output_bounds
from controller.choose.intervals.proportion import wilson
from controller.compress.metrics import SCORE_NAMES, Asked, Worth, cosines, judge, per_class_metrics, per_output_metrics
from controller.compress.metrics.anomaly import anomaly_scores, threshold_at
from controller.compress.metrics.detection import matched
from controller.compress.metrics.segmentation import counts
from controller.compress.metrics.sequence import decoded, edit_distance, in_words, word_error_rate
from controller.models.labels.arrays import as_labels, unlabelled
from controller.models.labels.kinds import Judging, ModelKind
from controller.models.postprocess.boxes import Boxes
from controller.models.samples import LabelledData
from tests.unit.controller.models.labels.test_label_arrays import PIPELINES
from wire.spec import Pipeline, RegressionPost, TensorPre, TensorSpec

Array = Any


def data(kind: ModelKind, inputs: Array, labels: Array, **more: Any) -> LabelledData:
    return LabelledData("here", kind, np.asarray(inputs), np.asarray(labels), "digest", **more)


def worth(
    kind: ModelKind, outputs: Array, labels: Array, judging: Judging | None = None, baseline: Array = None
) -> Worth:
    outputs = np.asarray(outputs, dtype=np.float32)
    samples = data(kind, np.zeros((len(outputs), 2)), labels, judging=judging or Judging())
    return judge(Asked(outputs, samples, PIPELINES[kind], baseline))


# --- classification -------------------------------------------------------------------------------------------------


def test_each_class_has_counts_and_intervals() -> None:
    labels, predicted = np.array([0, 0, 0, 1, 1, 2]), np.array([0, 0, 1, 1, 1, 0])
    first = per_class_metrics(predicted, labels, 3)[0]
    assert (first["samples"], first["predicted"], first["right"]) == (3, 3, 2)
    assert (first["recall_lower"], first["recall_upper"]) == wilson(2, 3)
    assert first["f1"] == pytest.approx(2 / 3)
    assert first["f1_lower"] < first["f1"] < first["f1_upper"]


def test_classification_keeps_what_a_comparison_needs() -> None:
    found = worth("classification", [[3, 1, 0], [0, 2, 1], [5, 0, 0]], [0, 1, 1])
    assert isinstance(found.evidence, RightOrWrong)
    assert (found.evidence.correct.tolist(), found.evidence.classes) == ([True, True, False], 2)
    assert (found.metrics["accuracy"], len(found.per_class)) == (2 / 3, 3)
    with pytest.raises(ValueError, match=r"needs outputs \(n, classes\), the model gives \(2, 1, 3\)"):
        worth("classification", np.zeros((2, 1, 3)), [0, 1])


# --- regression -----------------------------------------------------------------------------------------------------


def test_each_output_of_a_regression_has_its_row() -> None:
    labels, values = np.array([[0.0, 10], [2, 20], [4, 30]]), np.array([[1.0, 10], [2, 20], [4, 33]])
    one, other = per_output_metrics(values, labels)
    assert one["r2"] == pytest.approx(1 - 1 / 8)
    assert [one["mae"], one["bias"]] == pytest.approx([1 / 3, 1 / 3])
    assert other["rmse"] == pytest.approx(3**0.5)
    assert other["mae_lower"] == 0 < other["mae"] == 1 < other["mae_upper"]


def test_what_each_output_lost_has_its_bound() -> None:
    random = np.random.default_rng(2)
    labels = random.normal(size=(60, 2))
    control = labels + random.normal(size=(60, 2)) * 0.1
    variant = control + np.array([0.0, 1.0]) * random.normal(size=(60, 1))
    evidence = [worth("regression", each, labels.astype(np.float32)).evidence for each in (control, variant)]
    assert isinstance(evidence[0], SquaredErrors)
    assert isinstance(evidence[1], SquaredErrors)
    same, worse = output_bounds(evidence[0], evidence[1], 0.95)
    assert same is not None
    assert worse is not None
    assert (same.lost, same.upper) == (0, 0)
    assert 0.2 < worse.lost < worse.upper
    few = worth("regression", control[:20], labels[:20].astype(np.float32)).evidence
    assert isinstance(few, SquaredErrors)
    assert output_bounds(few, few, 0.95) == []


def test_outputs_that_do_not_fit_labels_are_refused() -> None:
    with pytest.raises(ValueError, match=r"outputs \(2, 3\) do not fit labels \(2, 2\)"):
        worth("regression", np.zeros((2, 3)), np.zeros((2, 2)))


# --- segmentation ---------------------------------------------------------------------------------------------------

MASKS = np.array([[[0, 0], [1, 1]], [[2, -1], [0, 0]]])
MAPS = np.array([[[0, 1], [1, 1]], [[2, 2], [0, 1]]])


def test_pixels_are_counted_but_those_of_which_nothing_is_known() -> None:
    met, given, true = counts(MAPS, MASKS, 3)
    assert met.tolist() == [[1, 2, 0], [1, 0, 1]]
    assert given.tolist() == [[1, 3, 0], [1, 1, 1]]
    assert true.tolist() == [[2, 2, 0], [2, 0, 1]]


def test_intersection_over_union_by_hand() -> None:
    outputs = np.eye(3)[MAPS].transpose(0, 3, 1, 2)
    found = worth("segmentation", outputs, MASKS)
    ious = [2 / 4, 2 / 4, 1.0]  # met over called so or so
    assert [row["iou"] for row in found.per_class] == pytest.approx(ious)
    assert found.metrics["mean_iou"] == pytest.approx(np.mean(ious))
    assert found.metrics["pixel_accuracy"] == 5 / 7
    assert found.per_class[2]["samples"] == 1
    assert isinstance(found.evidence, Ratios)


# --- sequences ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "true", "distance"),
    [("kitten", "sitting", 3), ("", "abc", 3), ("abc", "", 3), ("flaw", "lawn", 2), ("same", "same", 0)],
)
def test_edit_distance(given: str, true: str, distance: int) -> None:
    assert edit_distance([ord(each) for each in given], [ord(each) for each in true]) == distance


def test_edit_distance_agrees_with_the_textbook() -> None:
    random = np.random.default_rng(1)
    for _ in range(30):
        one, other = (random.integers(0, 4, random.integers(0, 9)) for _ in range(2))
        table = np.zeros((len(one) + 1, len(other) + 1), int)
        table[:, 0], table[0] = np.arange(len(one) + 1), np.arange(len(other) + 1)
        for row in range(1, len(one) + 1):
            for column in range(1, len(other) + 1):
                change = table[row - 1, column - 1] + (one[row - 1] != other[column - 1])
                table[row, column] = min(table[row - 1, column] + 1, table[row, column - 1] + 1, change)
        assert edit_distance(one, other) == table[-1, -1]


@pytest.mark.parametrize(
    ("judging", "given", "true", "answer", "wanted"),
    [
        (Judging(), [1, 2, 3, 4], [1, -1, 3, 2], [1, 3, 4], [1, 3, 2]),
        (Judging(), [1, 2], [1, 2, 3], [1, 2, -1], [1, 2, 3]),  # the model's answer is too short
        (Judging(end=9), [1, 2, 9, 4], [1, 9, -1], [1, 2], [1]),
        (Judging(decode="ctc"), [0, 1, 1, 0, 1, 2, 2, 0], [1, 1, 2], [1, 1, 2], [1, 1, 2]),
    ],
)
def test_the_tokens_that_count(judging: Judging, given: Array, true: Array, answer: Array, wanted: Array) -> None:
    one, other = decoded(np.array(given), np.array(true), judging)
    assert (one.tolist(), other.tolist()) == (answer, wanted)


def test_words_are_what_stands_between_separators() -> None:
    assert in_words(np.array([0, 1, 2, 0, 0, 3]), 0) == [(1, 2), (3,)]
    assert in_words(np.array([], int), 0) == []
    assert word_error_rate([([(1, 2), (3,)], [(1, 2), (4,), (5,)])]) == pytest.approx(2 / 3)


def test_token_accuracy_and_error_rates_by_hand() -> None:
    best = np.array([[1, 2, 3], [4, 4, 0]])
    labels = np.array([[1, 2, 4], [4, 1, -1]])
    found = worth("sequence", np.eye(5)[best], labels)
    assert found.metrics["token_accuracy"] == 3 / 5
    assert found.metrics["token_error_rate"] == 2 / 5
    assert (found.metrics["exact_ratio"], found.metrics["tokens"]) == (0, 5)
    spoken = worth("sequence", np.eye(5)[best], labels, judging=Judging(decode="ctc", word_separator=1))
    # 1 2 3 for 1 2 4, and 4 for 4 1: two of five tokens; words 2 3 for 2 4, and 4 for 4
    assert spoken.metrics["token_accuracy"] == 1 - 2 / 5
    assert spoken.metrics["word_error_rate"] == 1 / 2
    with pytest.raises(ValueError, match=r"need outputs \(n, length, tokens\)"):
        worth("sequence", np.zeros((2, 3)), labels)


# --- embeddings -----------------------------------------------------------------------------------------------------


def test_cosines_by_hand() -> None:
    one, other = np.array([[1.0, 0], [1, 1], [0, 0], [0, 0]]), np.array([[0.0, 2], [3, 3], [0, 0], [1, 0]])
    assert cosines(one, other) == pytest.approx([0, 1, 1, 0])


def test_an_embedding_is_judged_by_the_baselines() -> None:
    vectors = np.random.default_rng(3).normal(size=(40, 8)).astype(np.float32)
    own = worth("embedding", vectors, unlabelled(40))
    assert (own.metrics["cosine"], own.metrics["neighbour_agreement_ratio"]) == (1.0, 1.0)
    assert own.metrics["cosine_lower"] < 1
    turned = vectors.copy()
    turned[7] = -turned[7]
    found = worth("embedding", turned, unlabelled(40), baseline=vectors)
    assert found.metrics["cosine"] == pytest.approx(38 / 40)
    assert found.metrics["cosine_least"] == pytest.approx(-1)
    assert found.metrics["neighbour_agreement_ratio"] < 1


# --- anomalies ------------------------------------------------------------------------------------------------------


def test_a_threshold_lets_that_share_of_normal_samples_alarm() -> None:
    normal = np.arange(100.0)
    assert threshold_at(normal, 0.05) == 94  # 95 to 99 lie above
    assert threshold_at(normal, 0.001) == 99
    assert threshold_at(np.array([3.0, 3.0, 3.0]), 0.5) == 3
    with pytest.raises(ValueError, match="no normal calibration sample"):
        threshold_at(np.array([]), 0.05)


def anomaly(scores: Array, normal: Array) -> Worth:
    """Judge scores of which the last four are anomalous; `normal`: of the calibration samples."""
    labels = (np.arange(len(scores)) >= len(scores) - 4).astype(np.int64)
    calibration = data("anomaly", np.zeros((len(normal), 2)), unlabelled(len(normal)))
    samples = data("anomaly", np.zeros((len(scores), 2)), labels, calibration=calibration)
    columns = [np.asarray(each, np.float32)[:, np.newaxis] for each in (scores, normal)]
    return judge(Asked(columns[0], samples, PIPELINES["anomaly"], calibration=columns[1]))


def test_each_variant_gets_its_own_threshold() -> None:
    scores, normal = np.array([0, 1, 2, 3, 9, 9, 9, 2.5]), np.arange(40) / 10
    found = anomaly(scores, normal)
    assert found.metrics["auroc"] == (3 * 4 + 3) / 16
    assert found.metrics["threshold"] == pytest.approx(3.7)  # two of forty lie above: 5 %
    assert found.metrics["accuracy"] == 7 / 8
    assert (found.metrics["recall"], found.metrics["false_alarm_ratio"]) == (3 / 4, 0)
    moved = anomaly(scores * 2 + 5, normal * 2 + 5)  # another scale, as a quantised model may have
    assert moved.metrics["threshold"] == pytest.approx(3.7 * 2 + 5)
    assert {**moved.metrics, "threshold": 0} == {**found.metrics, "threshold": 0}
    assert [row["samples"] for row in found.per_class] == [4, 4]
    assert isinstance(found.evidence, Scores)


def test_few_normal_samples_are_told_of() -> None:
    assert "10 normal calibration samples hold no 5%" in anomaly(np.arange(8), np.arange(10)).notes[0]


def test_anomalous_calibration_samples_set_no_threshold() -> None:
    samples = data(
        "anomaly", np.zeros((2, 2)), [0, 1],
        calibration=data("anomaly", np.zeros((3, 2)), [0, 1, 0]), judging=Judging(false_alarm_ratio=0.5),
    )  # fmt: skip
    scores = np.array([[1.0], [2.0]], np.float32)
    known = np.array([[1.0], [50.0], [1.5]], np.float32)
    assert judge(Asked(scores, samples, PIPELINES["anomaly"], calibration=known)).metrics["threshold"] == 1.0


def test_a_model_that_gives_back_what_went_in_is_scored_by_what_it_misses() -> None:
    pipeline = Pipeline(
        pre=TensorPre(input=TensorSpec(name="x", shape=(1, 2))),
        post=RegressionPost(output=TensorSpec(name="y", shape=(1, 2))),
    )
    samples = data("anomaly", np.array([[1, 2], [0, 0]], np.float32), [0, 1])
    assert anomaly_scores(np.array([[1, 4], [0, 0]], np.float32), samples, pipeline).tolist() == [2.0, 0.0]
    with pytest.raises(ValueError, match=r"outputs have shape \(2, 3\): one score.*input's shape \(2, 2\)"):
        anomaly_scores(np.zeros((2, 3), np.float32), samples, pipeline)


# --- detection ------------------------------------------------------------------------------------------------------


def boxes(*rows: tuple[float, ...]) -> Boxes:
    """Boxes given as left, top, right, bottom, class, score."""
    table = np.array(rows, dtype=float).reshape(-1, 6)
    return Boxes(table[:, :4], table[:, 4].astype(np.int64), table[:, 5])


def test_the_best_box_takes_the_true_one_that_it_overlaps_most() -> None:
    labels = as_labels("detection", (np.array([[[0, 0, 10, 10], [20, 0, 30, 10]]]), np.array([[0, 0]])), 1, "here")
    found = matched(
        [boxes((0, 0, 10, 10, 0, 0.9), (0, 0, 10, 8, 0, 0.8), (20, 0, 30, 7, 0, 0.7), (20, 0, 30, 10, 1, 0.6))],
        labels,
    )
    at_half, at_75 = found.right[:, 0].tolist(), found.right[:, 5].tolist()
    assert at_half == [True, False, True, False]  # the second comes too late, the last is of another class
    assert at_75 == [True, False, False, False]  # 0.7 is not enough
    assert found.truths.tolist() == [[2, 0]]


def test_detection_over_a_heads_outputs() -> None:
    # One anchor hits, one misses; scores are what they are, the threshold is 0.25.
    head = np.zeros((1, 6, 9), np.float32)
    head[0, :, 0] = [5, 5, 10, 10, 0.9, 0.1]
    head[0, :, 1] = [50, 50, 4, 4, 0.6, 0.1]
    labels = as_labels("detection", (np.array([[[0, 0, 10, 10]]]), np.array([[0]])), 1, "here")
    found = worth("detection", head, labels)
    assert [found.metrics["map"], found.metrics["map_50"]] == pytest.approx([1.0, 1.0])
    assert (found.metrics["boxes"], found.metrics["answered"]) == (1, 2)
    assert (found.per_class[0]["recall_50"], found.per_class[0]["recall_50_lower"]) == (1, wilson(1, 1)[0])
    assert isinstance(found.evidence, Matches)


def test_every_kind_has_its_score_among_its_metrics() -> None:
    assert set(SCORE_NAMES) == set(PIPELINES)
