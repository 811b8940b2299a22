"""What a metric is asked, and what it answers; the same for every kind."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from controller.choose.intervals.evidence import Evidence
from controller.models.samples import LabelledData
from wire.spec import Pipeline, RegressionPost

Array = NDArray[Any]
Outputs = NDArray[np.float32]
Row = Mapping[str, float]


@dataclass(frozen=True, eq=False)
class Asked:
    """A variant's raw outputs, and all that they are judged by.

    outputs: Float32, shape (n, …), finite. samples: Of the same length. baseline: The baseline's outputs, null where
    this is the baseline. calibration: Outputs for `samples.calibration`, where there is one. folder: Of the model's
    files, for anchors.
    """

    outputs: Outputs
    samples: LabelledData
    pipeline: Pipeline
    baseline: Outputs | None = None
    calibration: Outputs | None = None
    folder: Path | None = None


@dataclass(frozen=True, eq=False)
class Worth:
    """A variant's metrics over all samples; of each class, sort or output; and what a comparison needs.

    correct: Per sample, classification only. values: In the label's unit, shape (n, k), regression only.
    """

    metrics: Mapping[str, float]
    evidence: Evidence
    per_class: tuple[Row, ...] = ()
    correct: NDArray[np.bool_] | None = None
    values: Outputs | None = None
    notes: tuple[str, ...] = field(default=())


def in_units(outputs: Outputs, post: RegressionPost) -> Outputs:
    """Return regression outputs in the label's units, shape (n, k)."""
    scale, offset = np.asarray(post.scale), np.asarray(post.offset)
    return np.asarray(outputs.reshape(len(outputs), -1) * scale + offset, dtype=np.float32)


def check_pair(given: Array, true: Array) -> None:
    """Refuse predictions that are not as many as the labels.

    Raises:
        ValueError: No samples, or shapes that differ.
    """
    if len(given) == 0 or given.shape != true.shape:
        raise ValueError(
            f"predictions of shape {given.shape}, labels of shape {true.shape}: equal and not empty is needed"
        )


def ratio(part: float, whole: float) -> float:
    """Return a share; 0 where nothing is below it."""
    return part / whole if whole else 0.0


def between(name: str, interval: tuple[float, float]) -> dict[str, float]:
    """Return the two ends of a metric's interval, by name."""
    return {f"{name}_lower": float(interval[0]), f"{name}_upper": float(interval[1])}
