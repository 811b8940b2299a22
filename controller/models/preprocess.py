"""The pre-processing of `wire.spec` in numpy, for calibration data made on the controller.

Decides: nothing of its own; it follows the declared pipeline up to the cast, in float32, before quantisation (a pass
calibrates the float model). Leaves out: speed; on devices the agent's kernels do this, and a test holds both together.

    prepare(pipeline.pre, queries)  # (n, 1, 427) as sent -> (n, 1, 427) as the model takes it
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from controller.errors import UnusableData
from wire.spec import Normalise, PreSpec, SeriesPre, TablePre, ZScore

Array = NDArray[np.float32]


def prepare(pre: PreSpec, queries: NDArray[Any]) -> Array:
    """Return model inputs for raw queries.

    Args:
        pre: Declared pre-processing.
        queries: Shape (n, ...) as the pipeline takes them.
    Returns:
        float32, shape (n, ...) in the model's layout.
    Raises:
        UnusableData: A shape, NaN or infinity that the pipeline refuses: no rule stands for an infinite reading.
    """
    if np.isinf(queries).any():
        raise UnusableData("infinite values are refused by every pipeline: a missing value is NaN")
    if isinstance(pre, SeriesPre):
        return _series(pre, queries)
    if isinstance(pre, TablePre):
        return _table(pre, queries)
    return np.ascontiguousarray(queries, dtype=np.float32)


def _series(pre: SeriesPre, queries: NDArray[Any]) -> Array:
    series = np.asarray(queries, dtype=np.float32)
    if series.ndim != 3 or series.shape[1] != pre.channels:
        raise UnusableData(f"series of shape (n, {pre.channels}, length) are needed, got {series.shape}")
    series = _fill(series, pre.nan)
    if series.shape[2] != pre.length:
        if pre.resize == "error":
            raise UnusableData(
                f"series of length {pre.length} are needed, got {series.shape[2]}; or set resize: linear"
            )
        series = _resize(series, pre.length)
    series = _normalise(series, pre.normalise)
    return np.ascontiguousarray(series.transpose(0, 2, 1) if pre.layout == "NLC" else series, dtype=np.float32)


def _table(pre: TablePre, queries: NDArray[Any]) -> Array:
    rows = np.array(queries, dtype=np.float32)
    if rows.ndim != 2 or rows.shape[1] != pre.features:
        raise UnusableData(f"rows of {pre.features} features are needed, got shape {rows.shape}")
    missing = ~np.isfinite(rows)
    if missing.any() and pre.nan == "error":
        raise UnusableData("a row holds NaN or infinite values and the pipeline says nan: error")
    means = pre.normalise.mean if isinstance(pre.normalise, ZScore) else ()
    fill = np.asarray(means, dtype=np.float32) if pre.nan == "mean" and means else np.zeros(pre.features, np.float32)
    rows = np.where(missing, fill, rows)
    if isinstance(pre.normalise, ZScore) and pre.normalise.statistics == "window":
        return _normalise(rows[:, np.newaxis, :], pre.normalise)[:, 0, :]  # the row is one window over its features
    return _normalise(rows[:, :, np.newaxis], pre.normalise)[:, :, 0]


def _fill(series: Array, rule: str) -> Array:
    missing = ~np.isfinite(series)
    if not missing.any():
        return series
    if rule == "error":
        raise UnusableData("a series holds NaN or infinite values and the pipeline says nan: error")
    if rule == "zero":
        return np.where(missing, np.float32(0), series)
    filled = series.copy()
    for row in filled.reshape(-1, series.shape[2]):
        known = np.flatnonzero(np.isfinite(row))
        if known.size == 0:
            raise UnusableData(
                "a series holds nothing but NaN or infinite values: there is nothing to interpolate from"
            )
        row[:] = np.interp(np.arange(row.size), known, row[known])
    return filled


def _resize(series: Array, length: int) -> Array:
    """Resample linearly, first and last point kept."""
    old, new = np.arange(series.shape[2]), np.linspace(0, series.shape[2] - 1, length)
    flat = series.reshape(-1, series.shape[2])
    return np.stack([np.interp(new, old, row) for row in flat]).reshape(*series.shape[:2], length).astype(np.float32)


def _normalise(values: Array, rule: Normalise) -> Array:
    """Normalise (n, channels, length) per channel."""
    if not isinstance(rule, ZScore):
        return values
    exact = values.astype(np.float64)
    if rule.statistics == "window":
        mean, deviation = exact.mean(axis=2, keepdims=True), exact.std(axis=2, ddof=rule.ddof, keepdims=True)
    else:
        mean = np.asarray(rule.mean)[np.newaxis, :, np.newaxis]
        deviation = np.asarray(rule.deviation)[np.newaxis, :, np.newaxis]
    return np.asarray((exact - mean) / np.maximum(deviation, rule.epsilon), dtype=np.float32)
