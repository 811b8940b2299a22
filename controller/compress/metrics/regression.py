"""Regression: R², mean absolute error and root mean square error, over all outputs and of each."""

from math import sqrt
from typing import cast

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from controller.choose.intervals.evidence import SquaredErrors
from controller.choose.intervals.proportion import CONFIDENCE
from controller.compress.metrics.worth import Array, Asked, Worth, between, check_pair, in_units
from wire.spec import RegressionPost

Floats = NDArray[np.float64]


def judge_regression(asked: Asked) -> Worth:
    """Judge numbers, one row a sample, in the label's units.

    Raises:
        ValueError: Not as many numbers a sample as labels.
    """
    values, labels = in_units(asked.outputs, cast(RegressionPost, asked.pipeline.post)), asked.samples.labels
    if values.shape != labels.shape:
        raise ValueError(f"outputs {asked.outputs.shape} do not fit labels {labels.shape}")
    squared = np.square(values.astype(np.float64) - labels)
    variances = labels.astype(np.float64).var(axis=0)
    return Worth(
        regression_metrics(values, labels),
        SquaredErrors(squared.mean(axis=1), float(variances.mean()), (squared, variances)),
        tuple(per_output_metrics(values, labels)),
        values=values,
    )


def regression_metrics(values: Array, labels: Array) -> dict[str, float]:
    """Return R², mean absolute error and root mean square error, over all outputs alike.

    R² is the mean over outputs; one whose labels never vary counts 1 when it is met exactly, else 0.

    Args:
        values: Predictions in the label's unit, shape (n, k), n >= 1.
        labels: Shape (n, k).
    Raises:
        ValueError: No samples, or shapes that differ.
    """
    check_pair(values, labels)
    given, true = values.astype(np.float64), labels.astype(np.float64)
    return {
        "r2": float(np.mean(_r2(given, true))),
        "mae": float(np.abs(given - true).mean()),
        "rmse": float(np.sqrt(np.square(given - true).mean())),
    }


def per_output_metrics(values: Array, labels: Array) -> list[dict[str, float]]:
    """Return of each output R², MAE with its interval (Student's t), RMSE and the mean error (bias)."""
    check_pair(values, labels)
    given, true = values.astype(np.float64), labels.astype(np.float64)
    rows = []
    for output, r2 in enumerate(_r2(given, true)):
        error = given[:, output] - true[:, output]
        rows.append(
            {
                "r2": float(r2),
                "mae": float(np.abs(error).mean()),
                **between("mae", _t_interval(np.abs(error))),
                "rmse": float(np.sqrt(np.square(error).mean())),
                "bias": float(error.mean()),
                "samples": float(len(error)),
            }
        )
    return rows


def _r2(given: Floats, true: Floats) -> Floats:
    residual = np.square(given - true).sum(axis=0)
    total = np.square(true - true.mean(axis=0)).sum(axis=0)
    varies = total > 0
    found: Floats = np.where(varies, 1.0 - residual / np.where(varies, total, 1.0), (residual == 0).astype(np.float64))
    return found


def _t_interval(sizes: Floats) -> tuple[float, float]:
    """Return Student's interval of the mean of sizes that are never negative; (0, inf) of a single one."""
    if len(sizes) < 2:
        return 0.0, float("inf")
    half = float(student.ppf((1 + CONFIDENCE) / 2, len(sizes) - 1)) * float(sizes.std(ddof=1)) / sqrt(len(sizes))
    return max(0.0, float(sizes.mean()) - half), float(sizes.mean()) + half
