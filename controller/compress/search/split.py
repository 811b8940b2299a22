"""Which samples a search looks at: those of the training part alone, in two halves that share none.

Decides: that what calibrates (or trains) a candidate never judges it, and that the evaluation samples, which the
report's numbers come from, are not touched before the search is over. Leaves out: loading
(`controller/models/samples`).

    fold = folds_of(training, seed=0)[0]
    len(fold.calibration), len(fold.validation)  # 600, 400 of 1,000
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from controller.errors import UnusableData
from controller.models.samples import LabelledData, arrays_digest, stratified_rows

VALIDATION_RATIO = 0.4
"""Calibration needs few samples; what is told apart by them needs many."""

MOST_VALIDATION = 5000
MOST_CALIBRATION = 512
FEWEST = 4
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Fold:
    """One way to part the training samples. `training`: what passes train on. `calibration`: raw queries, some of it.
    `validation`: all the others, which judge."""

    training: LabelledData
    calibration: NDArray[Any]
    validation: LabelledData


def folds_of(training: LabelledData, seed: int) -> tuple[Fold, ...]:
    """Return the folds on which candidates are judged; what is said of a candidate is said of all of them together.

    One for now: cross-validation of a small training part gives several, and nothing else changes.

    Args:
        training: The model's training part, labelled.
        seed: Same samples and seed, same fold.
    Raises:
        UnusableData: Too few samples to be parted.
    """
    if len(training) < FEWEST:
        raise UnusableData(
            f"{training.name}: {len(training)} training samples cannot be parted into some that calibrate and some "
            f"that judge; give at least {FEWEST}"
        )
    judging = validation_rows(training, seed)
    rest = np.setdiff1d(np.arange(len(training)), judging)
    fit = part_of(training, rest, "fit")
    chosen = stratified_rows(fit.labels, fit.kind, MOST_CALIBRATION)
    validation = part_of(training, judging, "validation")
    if training.kind == "anomaly":
        validation = replace(validation, calibration=fit)  # variants' thresholds are set on what is not judged
    return (Fold(fit, fit.inputs[chosen], validation),)


def validation_rows(training: LabelledData, seed: int) -> Rows:
    """Return the rows that judge, ascending: of each class the same share, so that a rare class stays rare."""
    random = np.random.default_rng(seed)
    share = min(VALIDATION_RATIO, MOST_VALIDATION / len(training))
    groups = [np.arange(len(training))]
    if training.kind == "classification":
        groups = [np.flatnonzero(training.labels == label) for label in np.unique(training.labels)]
    taken = [random.permutation(rows)[: round(share * len(rows))] for rows in groups]
    rows = np.sort(np.concatenate(taken)).astype(np.int64)
    return rows if len(rows) else np.arange(1, dtype=np.int64)


def part_of(samples: LabelledData, rows: Rows, name: str) -> LabelledData:
    """Return some of the samples."""
    inputs, labels = samples.inputs[rows], samples.labels[rows]
    own = f"{samples.name}-{name}"
    return replace(samples, name=own, inputs=inputs, labels=labels, digest=arrays_digest(inputs, labels))
