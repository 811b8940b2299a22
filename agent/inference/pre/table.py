"""Rows of features: NaN rule, normalised, cast or quantised."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.errors import BadBundle, BadQuery
from agent.inference.kernels import table
from agent.inference.kernels.compiled import Kernel
from agent.inference.pre.base import UNUSABLE, Array, Buffer, Doubles, Place, refuse_infinities, take
from agent.inference.pre.statistics import Statistics, own
from agent.inference.shapes import query_shape
from wire import spec


class Table:
    geometry: Doubles | None = None

    def __init__(self, pre: spec.TablePre, place: Place) -> None:
        shape = query_shape(pre.input.shape, place.shape(pre.input), (pre.features,))
        if [axis for axis in shape if axis != 1] != [axis for axis in (pre.features,) if axis != 1]:
            raise BadBundle(f"a row of {pre.features} features does not fit the model's input {shape}")
        window = own(pre.normalise)
        self._pre = pre
        self._row = np.zeros(pre.features)
        # Statistics stand per channel: the row is one channel for its own, one channel a feature for training ones.
        self._values = self._row.reshape((1, -1) if window else (-1, 1))
        statistics = Statistics(pre.normalise, self._values)
        self._update = statistics.update
        self._buffer = Buffer(pre.input, place.buffer(pre.input, shape), (1, 1), self._values, statistics.normal)
        self._repair = table.repair_row.bind(self._row, table.NAN_RULES[pre.nan], statistics.normal[0])
        self.feeds: tuple[Array, ...] = (self._buffer.array,)
        self.kernels: tuple[Kernel[..., Any], ...] = (table.repair_row, *statistics.kernels, self._buffer.kernel)

    def prepare(self, query: NDArray[Any]) -> Array:
        if query.shape != self._row.shape:
            raise BadQuery(f"expected a row of shape {self._row.shape}, given {query.shape}")
        take(query, self._row)
        if self._pre.nan != "error":  # which counts them
            refuse_infinities(self._row)
        bad = self._repair()
        if bad:
            raise BadQuery(f"{bad} values are {UNUSABLE}, and the rule is {self._pre.nan!r}")
        self._update()
        return self._buffer.write()
