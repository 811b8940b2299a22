"""What a variant's outputs are worth: task metrics, and the distance to the baseline's outputs.

Decides: the formulas. Leaves out: who computed the outputs (`evaluate.py`) and what is good enough
    (`controller/choose`).

>>> import numpy as np
>>> classification_metrics(np.array([0, 1, 1]), np.array([0, 1, 0]), 2)["accuracy"]
0.6666666666666666
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def classification_metrics(predicted: Array, labels: Array, classes: int) -> dict[str, float]:
    """Return accuracy, macro precision, recall and F1.

    A class that is neither predicted nor present has no F1 and is left out of the means.

    Args:
        predicted: Class per sample, shape (n,), n >= 1.
        labels: True class per sample, shape (n,).
        classes: How many classes the model has.
    Raises:
        ValueError: No samples, or shapes that differ.
    """
    _check(predicted, labels)
    rows = per_class_metrics(predicted, labels, classes)
    seen = [row for row in rows if row["samples"] or row["predicted"]]
    return {
        "accuracy": float((predicted == labels).mean()),
        "macro_precision": float(np.mean([row["precision"] for row in seen])),
        "macro_recall": float(np.mean([row["recall"] for row in seen])),
        "macro_f1": float(np.mean([row["f1"] for row in seen])),
    }


def per_class_metrics(predicted: Array, labels: Array, classes: int) -> list[dict[str, float]]:
    """Return precision, recall, F1, samples and predictions of each class; a ratio with nothing below it is 0."""
    _check(predicted, labels)
    rows = []
    for label in range(classes):
        right = int(((predicted == label) & (labels == label)).sum())
        given, true = int((predicted == label).sum()), int((labels == label).sum())
        rows.append(
            {
                "precision": _ratio(right, given),
                "recall": _ratio(right, true),
                "f1": _ratio(2 * right, given + true),
                "samples": float(true),
                "predicted": float(given),
            }
        )
    return rows


def regression_metrics(values: Array, labels: Array) -> dict[str, float]:
    """Return R², mean absolute error and root mean square error, over all outputs alike.

    R² is the mean over outputs; one whose labels never vary counts 1 when it is met exactly, else 0.

    Args:
        values: Predictions in the label's unit, shape (n, k), n >= 1.
        labels: Shape (n, k).
    Raises:
        ValueError: No samples, or shapes that differ.
    """
    _check(values, labels)
    given, true = values.astype(np.float64), labels.astype(np.float64)
    residual = np.square(given - true).sum(axis=0)
    total = np.square(true - true.mean(axis=0)).sum(axis=0)
    varies = total > 0
    r2 = np.where(varies, 1.0 - residual / np.where(varies, total, 1.0), (residual == 0).astype(np.float64))
    return {
        "r2": float(np.mean(r2)),
        "mae": float(np.abs(given - true).mean()),
        "rmse": float(np.sqrt(np.square(given - true).mean())),
    }


def sqnr_db(reference: Array, outputs: Array) -> float | None:
    """Return the ratio of the reference's power to that of the difference [dB]; None when nothing differs.

    Raises:
        ValueError: Shapes that differ.
    """
    if reference.shape != outputs.shape:
        raise ValueError(f"outputs of shape {outputs.shape}, reference of shape {reference.shape}")
    exact = reference.astype(np.float64)
    noise = float(np.square(outputs.astype(np.float64) - exact).sum())
    if noise == 0.0:
        return None
    power = float(np.square(exact).sum())
    return 10.0 * float(np.log10(power / noise)) if power > 0 else float("-inf")


def top1_agreement_ratio(reference: Array, outputs: Array) -> float:
    """Return the share of samples whose largest output is the same, 0 to 1. Shapes (n, k)."""
    return float((reference.argmax(axis=1) == outputs.argmax(axis=1)).mean())


def _check(given: Array, true: Array) -> None:
    if len(given) == 0 or given.shape != true.shape:
        raise ValueError(
            f"predictions of shape {given.shape}, labels of shape {true.shape}: equal and not empty is needed"
        )


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
