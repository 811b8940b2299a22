"""Time series: NaN rule, resampling or a ring of the last points, differences, statistics, then one pass that
normalises, casts and lays out.

A stream has a state: the last `length + difference` points that were taken. Points of the wrong shape, infinite or too
large ones, and missing ones under `nan: error` are refused and leave it as it was. Otherwise they are taken, even where
no answer comes of it: the ring is not full yet, or a channel of it holds nothing but missing values. A query of a whole
window (or more) leaves nothing of what was there before, so golden queries are not mixed with each other; `forget`
empties the ring. Each row of a batch has a ring of its own, into which only every so many queries come: there only
whole windows are taken.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.errors import BadBundle, BadQuery
from agent.inference.kernels import series
from agent.inference.kernels.compiled import Kernel
from agent.inference.kernels.windows import ring
from agent.inference.kernels.windows.statistics import difference_series
from agent.inference.pre.base import UNUSABLE, Array, Buffer, Doubles, Place, refuse_infinities, take, unusable
from agent.inference.pre.statistics import Statistics
from agent.inference.shapes import query_shape
from wire import spec


class Series:
    geometry: Doubles | None = None

    def __init__(self, pre: spec.SeriesPre, place: Place) -> None:
        shape, strides = laid_out(pre, place)
        self._pre = pre
        self._points = pre.length + pre.difference
        self._rule = series.NAN_RULES[pre.nan]
        self._values = np.zeros((pre.channels, pre.length))
        self._whole = np.zeros((pre.channels, self._points)) if pre.difference else self._values
        self._statistics = Statistics(pre.normalise, self._values)
        self._buffer = Buffer(pre.input, place.buffer(pre.input, shape), strides, self._values, self._statistics.normal)
        self._repair = series.repair_series.bind(self._whole, self._rule)
        self._difference = difference_series.bind(self._whole, np.zeros_like(self._whole), self._values)
        self._ring = Ring(pre.channels, self._points) if pre.resize == "stream" else None
        self._whole_only = bool(place.rows)
        self.feeds: tuple[Array, ...] = (self._buffer.array,)
        self.kernels = self._all_kernels()

    def prepare(self, query: NDArray[Any]) -> Array:
        bad = self._take(self._checked(query))
        if bad:
            raise BadQuery(f"{bad} values are {UNUSABLE}, and the rule is {self._pre.nan!r}")
        if self._pre.difference:
            self._difference()
        self._statistics.update()
        return self._buffer.write()

    def forget(self) -> None:
        """Empty the ring of a stream."""
        if self._ring is not None:
            self._ring.forget()

    def _all_kernels(self) -> tuple[Kernel[..., Any], ...]:
        resized: dict[str, Kernel[..., Any]] = {"linear": series.resample_linear, "stream": ring.push_points}
        more = (resized.get(self._pre.resize), difference_series if self._pre.difference else None)
        return (
            series.repair_series,
            *(kernel for kernel in more if kernel is not None),
            *self._statistics.kernels,
            self._buffer.kernel,
        )

    def _checked(self, query: NDArray[Any]) -> NDArray[Any]:
        pre = self._pre
        if query.ndim == 1 and pre.channels == 1:
            query = query[np.newaxis]
        fits = query.ndim == 2 and query.shape[0] == pre.channels
        any_length = pre.resize == "linear" or (pre.resize == "stream" and not self._whole_only)
        if not fits or query.shape[1] == 0 or (query.shape[1] != self._points and not any_length):
            points = "any number from 1 on" if any_length else self._points
            raise BadQuery(f"expected a series of shape ({pre.channels}, {points}), given {query.shape}")
        return query

    def _take(self, query: NDArray[Any]) -> int:
        """Bring the query's points, or the stream's, into `_whole`; return how many values stay missing."""
        if self._ring is not None:
            self._push(self._ring, query)
        elif query.shape[1] != self._points:
            return self._take_resized(query)
        else:
            take(query, self._whole)
            self._refuse_infinities(self._whole)
        return self._repair()

    def _push(self, ring_of_last: "Ring", query: NDArray[Any]) -> None:
        points = np.zeros(query.shape)
        take(query, points)
        self._refuse_infinities(points)
        if self._pre.nan == "error" and (bad := unusable(points)):
            raise BadQuery(f"{bad} values are {UNUSABLE}, and the rule is 'error'")
        ring_of_last.push(points)
        if ring_of_last.taken < self._points:
            raise BadQuery(f"{ring_of_last.taken} of {self._points} points so far: answers come from then on")
        ring_of_last.read(self._whole)

    def _take_resized(self, query: NDArray[Any]) -> int:
        source = np.zeros(query.shape)
        take(query, source)
        self._refuse_infinities(source)
        bad = series.repair_series(source, self._rule)
        if not bad:
            series.resample_linear(source, self._whole)
        return bad

    def _refuse_infinities(self, values: Doubles) -> None:
        if self._pre.nan != "error":  # which counts them
            refuse_infinities(values)


class Ring:
    """The last points of a stream."""

    def __init__(self, channels: int, points: int) -> None:
        self._points = points
        self._values = np.zeros((channels, 2 * points))
        self._state = np.zeros(2, dtype=np.int64)
        self._push = ring.push_points.bind_rest(self._state, self._values)

    @property
    def taken(self) -> int:
        """Points that are there."""
        return int(self._state[ring.TAKEN])

    def push(self, points: Doubles) -> None:
        self._push(points)

    def read(self, out: Doubles) -> None:
        """Copy the last points, oldest first; the ring must be full."""
        start = int(self._state[ring.START])
        out[:] = self._values[:, start : start + self._points]

    def forget(self) -> None:
        self._state[:] = 0


def laid_out(pre: spec.SeriesPre, place: Place) -> tuple[tuple[int, ...], tuple[int, int]]:
    """Return the shape of the model's input, and its strides."""
    natural = (pre.channels, pre.length) if pre.layout == "NCL" else (pre.length, pre.channels)
    shape = query_shape(pre.input.shape, place.shape(pre.input), natural)
    if [axis for axis in shape if axis != 1] != [axis for axis in natural if axis != 1]:
        raise BadBundle(f"a {pre.layout} series of {natural} does not fit the model's input {shape}")
    return shape, layout_strides(pre)


def layout_strides(pre: spec.SeriesPre) -> tuple[int, int]:
    """Return the elements of the model's input from channel to channel and from point to point."""
    return (pre.length, 1) if pre.layout == "NCL" else (1, pre.channels)
