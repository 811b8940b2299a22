"""What a query is normalised by: numbers of the training set, or those of the query itself."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from agent.errors import BadBundle
from agent.inference.kernels import series
from agent.inference.kernels.compiled import Kernel
from agent.inference.kernels.windows import statistics
from agent.inference.pre.base import Doubles
from wire import spec


class Statistics:
    """Centre, divisor and offset per channel, `normal` of shape (3, channels): fixed, or those of the window."""

    def __init__(self, normalise: spec.Normalise, values: Doubles) -> None:
        channels = values.shape[0]
        self.normal = np.stack([np.zeros(channels), np.ones(channels), np.zeros(channels)])
        self.kernels: tuple[Kernel[..., Any], ...] = ()
        self.update: Callable[[], None] = _nothing
        if isinstance(normalise, spec.NoNormalisation):
            return
        if normalise.statistics == "training":
            for row, numbers in enumerate(_trained(normalise)):
                if len(numbers) != channels:
                    raise BadBundle(f"training statistics of {len(numbers)} channels, the query has {channels}")
                self.normal[row] = numbers
        else:
            kernel, arguments = _of_window(normalise, values)
            self.kernels = (kernel,)
            self.update = kernel.bind(values, *arguments, self.normal)


def own(normalise: spec.Normalise) -> bool:
    """Return whether the query's own statistics are taken."""
    return not isinstance(normalise, spec.NoNormalisation) and normalise.statistics == "window"


def _trained(normalise: spec.ZScore | spec.MinMax | spec.Robust) -> Sequence[Any]:
    """Return centre, divisor and, where it is not 0, offset of each channel."""
    match normalise:
        case spec.ZScore():
            return normalise.mean, np.maximum(normalise.deviation, normalise.epsilon)
        case spec.Robust():
            return normalise.median, np.maximum(normalise.interquartile_range, normalise.epsilon)
        case spec.MinMax():
            span = np.maximum(np.subtract(normalise.maximum, normalise.minimum), normalise.epsilon)
            return normalise.minimum, span / (normalise.high - normalise.low), np.full(span.shape, normalise.low)


def _of_window(
    normalise: spec.ZScore | spec.MinMax | spec.Robust, values: Doubles
) -> tuple[Kernel[..., None], tuple[Any, ...]]:
    """Return the kernel that finds a window's statistics, and its arguments between the values and the result."""
    match normalise:
        case spec.ZScore():
            return series.window_statistics, (normalise.ddof, normalise.epsilon)
        case spec.Robust():
            return statistics.window_quartiles, (normalise.epsilon, np.zeros(values.shape[1]))
        case spec.MinMax():
            return statistics.window_extremes, (normalise.low, normalise.high, normalise.epsilon)


def _nothing() -> None:
    """Statistics that never change."""
