"""Rows of features in numpy."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from controller.errors import UnusableData
from controller.models.preprocess.normalise import Array, normalised, owned
from wire.spec import Robust, TablePre, ZScore


def prepare_table(pre: TablePre, queries: NDArray[Any]) -> Array:
    rows = np.array(queries, dtype=np.float64)
    if rows.ndim != 2 or rows.shape[1] != pre.features:
        raise UnusableData(f"rows of {pre.features} features are needed, got shape {rows.shape}")
    missing = ~np.isfinite(rows)
    if missing.any() and pre.nan == "error":
        raise UnusableData("a row holds NaN or infinite values and the pipeline says nan: error")
    middles = _middles(pre) if pre.nan == "mean" else ()
    rows = np.where(missing, np.asarray(middles) if middles else 0.0, rows)
    if owned(pre.normalise):
        return normalised(rows[:, np.newaxis, :], pre.normalise)[:, 0, :]  # the row is one window over its features
    return normalised(rows[:, :, np.newaxis], pre.normalise)[:, :, 0]


def _middles(pre: TablePre) -> tuple[float, ...]:
    """Return the training set's mean or median of each feature."""
    if isinstance(pre.normalise, ZScore):
        return pre.normalise.mean
    return pre.normalise.median if isinstance(pre.normalise, Robust) else ()
