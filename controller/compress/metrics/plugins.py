"""Which metric judges which kind of model, and the score of each that limits speak of; higher is better."""

from collections.abc import Callable, Mapping

from controller.compress.metrics.anomaly import judge_anomaly
from controller.compress.metrics.classification import judge_classification
from controller.compress.metrics.detection import judge_detection
from controller.compress.metrics.embedding import judge_embedding
from controller.compress.metrics.regression import judge_regression
from controller.compress.metrics.segmentation import judge_segmentation
from controller.compress.metrics.sequence import judge_sequence
from controller.compress.metrics.worth import Asked, Worth
from controller.models.labels.kinds import ModelKind

SCORE_NAMES: Mapping[ModelKind, str] = {
    "classification": "accuracy",
    "regression": "r2",
    "detection": "map",
    "segmentation": "mean_iou",
    "sequence": "token_accuracy",
    "embedding": "cosine",
    "anomaly": "auroc",
}

_PLUGINS: Mapping[ModelKind, Callable[[Asked], Worth]] = {
    "classification": judge_classification,
    "regression": judge_regression,
    "detection": judge_detection,
    "segmentation": judge_segmentation,
    "sequence": judge_sequence,
    "embedding": judge_embedding,
    "anomaly": judge_anomaly,
}


def judge(asked: Asked) -> Worth:
    """Judge a variant's outputs by the metric of the model's kind.

    Raises:
        ValueError: The outputs do not fit the kind or the labels; expected and given are named.
    """
    return _PLUGINS[asked.samples.kind](asked)


def score_name(kind: ModelKind) -> str:
    """Return the metric that limits speak of."""
    return SCORE_NAMES[kind]
