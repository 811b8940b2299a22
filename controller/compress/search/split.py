"""Which samples a search looks at: those of the training part alone, in parts that share none.

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

FEW, FEW_FOLDS = 500, 3
"""A training part of fewer samples is validated in so many folds: two fifths of them would tell little apart."""

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


def usual_folds(samples: int) -> int:
    """Return how many folds a training part of so many samples is validated in, unless it is said otherwise."""
    return FEW_FOLDS if samples < FEW else 1


def folds_of(training: LabelledData, seed: int, count: int = 1) -> tuple[Fold, ...]:
    """Return the folds on which candidates are judged; what is said of a candidate is said of all of them together.

    Args:
        training: The model's training part, labelled.
        seed: Same samples and seed, same folds.
        count: 1: a part of the samples validates. More: each sample validates in one fold, and is fitted on in the
            others (cross-validation).
    Raises:
        UnusableData: Too few samples to be parted.
    """
    if len(training) < max(FEWEST, count):
        raise UnusableData(
            f"{training.name}: {len(training)} training samples cannot be parted into some that calibrate and some "
            f"that judge; give at least {max(FEWEST, count)}"
        )
    parts = [validation_rows(training, seed)] if count == 1 else crossed_rows(training, seed, count)
    return tuple(_fold(training, judging) for judging in parts)


def _fold(training: LabelledData, judging: Rows) -> Fold:
    rest = np.setdiff1d(np.arange(len(training)), judging)
    fit = part_of(training, rest, "fit")
    chosen = stratified_rows(fit.labels, fit.kind, MOST_CALIBRATION)
    validation = part_of(training, judging, "validation")
    if training.kind == "anomaly":
        validation = replace(validation, calibration=fit)  # variants' thresholds are set on what is not judged
    return Fold(fit, fit.inputs[chosen], validation)


def crossed_rows(training: LabelledData, seed: int, count: int) -> list[Rows]:
    """Return the rows that judge in each fold: all rows, each once, of each class the same share."""
    random = np.random.default_rng(seed)
    order = np.concatenate([random.permutation(rows) for rows in _groups(training)])
    return [np.sort(order[place::count]).astype(np.int64) for place in range(count)]


def _groups(training: LabelledData) -> list[Rows]:
    """Return the rows of each class; of all samples where there are none."""
    if training.kind != "classification":
        return [np.arange(len(training))]
    return [np.flatnonzero(training.labels == label) for label in np.unique(training.labels)]


def validation_rows(training: LabelledData, seed: int) -> Rows:
    """Return the rows that judge, ascending: of each class the same share, so that a rare class stays rare."""
    random = np.random.default_rng(seed)
    share = min(VALIDATION_RATIO, MOST_VALIDATION / len(training))
    taken = [random.permutation(rows)[: round(share * len(rows))] for rows in _groups(training)]
    rows = np.sort(np.concatenate(taken)).astype(np.int64)
    return rows if len(rows) else np.arange(1, dtype=np.int64)


def part_of(samples: LabelledData, rows: Rows, name: str) -> LabelledData:
    """Return some of the samples."""
    inputs, labels = samples.inputs[rows], samples.labels[rows]
    own = f"{samples.name}-{name}"
    return replace(samples, name=own, inputs=inputs, labels=labels, digest=arrays_digest(inputs, labels))
