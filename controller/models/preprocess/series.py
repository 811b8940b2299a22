"""Time series in numpy: NaN rule, resampling, differences, normalisation, layout."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from controller.errors import UnusableData
from controller.models.preprocess.normalise import Array, Doubles, normalised
from wire.spec import SeriesPre


def prepare_series(pre: SeriesPre, queries: NDArray[Any]) -> Array:
    """Return model inputs; of a stream, the one that each query's last points make."""
    series = np.asarray(queries, dtype=np.float64)
    if series.ndim != 3 or series.shape[1] != pre.channels or series.shape[2] == 0:
        raise UnusableData(f"series of shape (n, {pre.channels}, length) are needed, got {series.shape}")
    points, given = pre.length + pre.difference, series.shape[2]
    if pre.resize == "stream":
        if given < points:
            raise UnusableData(f"a stream answers from {points} points on, these series have {given}")
        series = series[:, :, -points:]
    elif pre.resize == "error" and given != points:
        raise UnusableData(f"series of length {points} are needed, got {given}; or set resize: linear")
    series = _fill(series, pre.nan)
    if series.shape[2] != points:
        series = _resize(series, points)
    series = np.diff(series, n=pre.difference, axis=2)
    scaled = normalised(series, pre.normalise)
    return np.ascontiguousarray(scaled.transpose(0, 2, 1) if pre.layout == "NLC" else scaled, dtype=np.float32)


def _fill(series: Doubles, rule: str) -> Doubles:
    missing = ~np.isfinite(series)
    if not missing.any():
        return series
    if rule == "error":
        raise UnusableData("a series holds NaN or infinite values and the pipeline says nan: error")
    if rule == "zero":
        return np.where(missing, 0.0, series)
    filled = series.copy()
    for row in filled.reshape(-1, series.shape[2]):
        known = np.flatnonzero(np.isfinite(row))
        if known.size == 0:
            raise UnusableData(
                "a series holds nothing but NaN or infinite values: there is nothing to interpolate from"
            )
        row[:] = _held(row, known) if rule == "forward" else np.interp(np.arange(row.size), known, row[known])
    return filled


def _held(row: Doubles, known: NDArray[np.int64]) -> Doubles:
    """Return the last value before each point that is missing, or the first value where there is none before."""
    before = np.searchsorted(known, np.arange(row.size), side="right") - 1
    held: Doubles = row[known[np.maximum(before, 0)]]
    return held


def _resize(series: Doubles, length: int) -> Doubles:
    """Resample linearly, first and last point kept."""
    old, new = np.arange(series.shape[2]), np.linspace(0, series.shape[2] - 1, length)
    flat = series.reshape(-1, series.shape[2])
    return np.stack([np.interp(new, old, row) for row in flat]).reshape(*series.shape[:2], length)
