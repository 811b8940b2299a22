"""Classification: accuracy, and precision, recall and F1 of each class, with counts and intervals."""

import numpy as np

from controller.choose.intervals.evidence import RightOrWrong
from controller.choose.intervals.proportion import f1_interval, wilson
from controller.compress.metrics.worth import Array, Asked, Worth, between, check_pair, ratio


def judge_classification(asked: Asked) -> Worth:
    """Judge scores (n, classes): the largest one is the answer, of equal ones the first.

    Raises:
        ValueError: Outputs of another shape.
    """
    outputs, labels = asked.outputs, asked.samples.labels
    if outputs.ndim != 2:
        raise ValueError(f"classification needs outputs (n, classes), the model gives {outputs.shape}")
    predicted = outputs.argmax(axis=1)
    correct = predicted == labels
    return Worth(
        classification_metrics(predicted, labels, outputs.shape[1]),
        RightOrWrong(correct, len(np.unique(labels))),
        tuple(per_class_metrics(predicted, labels, outputs.shape[1])),
        correct=correct,
    )


def classification_metrics(predicted: Array, labels: Array, classes: int) -> dict[str, float]:
    """Return accuracy with its interval, macro precision, recall and F1.

    A class that is neither predicted nor present has no F1 and is left out of the means.

    Args:
        predicted: Class per sample, shape (n,), n >= 1.
        labels: True class per sample, shape (n,).
        classes: How many classes the model has.
    Raises:
        ValueError: No samples, or shapes that differ.
    """
    check_pair(predicted, labels)
    rows = per_class_metrics(predicted, labels, classes)
    seen = [row for row in rows if row["samples"] or row["predicted"]]
    right = int((predicted == labels).sum())
    return {
        "accuracy": right / len(labels),
        **between("accuracy", wilson(right, len(labels))),
        "macro_precision": float(np.mean([row["precision"] for row in seen])),
        "macro_recall": float(np.mean([row["recall"] for row in seen])),
        "macro_f1": float(np.mean([row["f1"] for row in seen])),
    }


def per_class_metrics(predicted: Array, labels: Array, classes: int) -> list[dict[str, float]]:
    """Return precision, recall and F1 of each class with counts; a ratio with nothing below it is 0.

    Intervals are at 95 %: Wilson's of precision and recall, of F1 as `f1_interval` says; 0 to 1 where nothing counts.
    """
    check_pair(predicted, labels)
    rows = []
    for label in range(classes):
        right = int(((predicted == label) & (labels == label)).sum())
        given, true = int((predicted == label).sum()), int((labels == label).sum())
        rows.append(
            {
                "precision": ratio(right, given),
                **between("precision", wilson(right, given)),
                "recall": ratio(right, true),
                **between("recall", wilson(right, true)),
                "f1": ratio(2 * right, given + true),
                **between("f1", f1_interval(right, given, true)),
                "samples": float(true),
                "predicted": float(given),
                "right": float(right),
            }
        )
    return rows
