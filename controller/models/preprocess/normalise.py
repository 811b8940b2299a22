"""Normalisation of `wire.spec.normalise` in numpy."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from wire.spec import MinMax, NoNormalisation, Normalise, Robust, ZScore

Array = NDArray[np.float32]
Doubles = NDArray[np.float64]


def normalised(values: NDArray[Any], rule: Normalise) -> Array:
    """Return (n, channels, length) normalised per channel, float32."""
    exact = np.asarray(values, dtype=np.float64)
    match rule:
        case NoNormalisation():
            scaled = exact
        case ZScore():
            mean, deviation = _moments(exact, rule)
            scaled = (exact - mean) / np.maximum(deviation, rule.epsilon)
        case MinMax():
            least, most = _extremes(exact, rule)
            scaled = (exact - least) / np.maximum(most - least, rule.epsilon) * (rule.high - rule.low) + rule.low
        case Robust():
            median, quartiles_apart = _quartiles(exact, rule)
            scaled = (exact - median) / np.maximum(quartiles_apart, rule.epsilon)
    return np.asarray(scaled, dtype=np.float32)


def owned(rule: Normalise) -> bool:
    """Return whether the query's own statistics are taken."""
    return not isinstance(rule, NoNormalisation) and rule.statistics == "window"


def _moments(values: Doubles, rule: ZScore) -> tuple[Doubles, Doubles]:
    if not owned(rule):
        return _per_channel(rule.mean), _per_channel(rule.deviation)
    mean = values.mean(axis=2, keepdims=True)
    if values.shape[2] <= rule.ddof:
        return mean, np.zeros_like(mean)
    return mean, values.std(axis=2, ddof=rule.ddof, keepdims=True)


def _extremes(values: Doubles, rule: MinMax) -> tuple[Doubles, Doubles]:
    if not owned(rule):
        return _per_channel(rule.minimum), _per_channel(rule.maximum)
    return values.min(axis=2, keepdims=True), values.max(axis=2, keepdims=True)


def _quartiles(values: Doubles, rule: Robust) -> tuple[Doubles, Doubles]:
    if not owned(rule):
        return _per_channel(rule.median), _per_channel(rule.interquartile_range)
    lower, median, upper = np.quantile(values, [0.25, 0.5, 0.75], axis=2, keepdims=True)
    return median, upper - lower


def _per_channel(numbers: tuple[float, ...]) -> Doubles:
    return np.asarray(numbers)[np.newaxis, :, np.newaxis]
