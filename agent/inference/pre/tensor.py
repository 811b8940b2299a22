"""Tensors that are the model's input already: cast and quantised, nothing else."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.errors import BadQuery
from agent.inference.kernels.compiled import Kernel
from agent.inference.pre.base import Array, Buffer, Doubles, Place, not_finite, take
from agent.inference.pre.statistics import Statistics
from agent.inference.shapes import query_shape
from wire import spec


class Tensor:
    geometry: Doubles | None = None

    def __init__(self, pre: spec.TensorPre, place: Place) -> None:
        shape = query_shape(pre.input.shape, place.shape(pre.input))
        self._values = np.zeros((1, math.prod(shape)))
        statistics = Statistics(spec.NoNormalisation(), self._values)
        self._buffer = Buffer(pre.input, place.buffer(pre.input, shape), (1, 1), self._values, statistics.normal)
        self._plain = self._buffer.array.dtype.kind == "f"
        self.feeds: tuple[Array, ...] = (self._buffer.array,)
        self.kernels: tuple[Kernel[..., Any], ...] = () if self._plain else (self._buffer.kernel,)

    def prepare(self, query: NDArray[Any]) -> Array:
        array = self._buffer.array
        if query.shape != array.shape[1:]:
            raise BadQuery(f"expected a tensor of shape {array.shape[1:]}, given {query.shape}")
        if query.dtype == array.dtype:
            take(query, array[0])
        elif self._plain:
            with np.errstate(over="ignore"):
                take(query, array[0])
        else:
            take(query.reshape(-1), self._values[0])
            self._check(query, self._values)
            return self._buffer.write()
        self._check(query, array)
        return array

    def _check(self, query: NDArray[Any], taken: NDArray[Any]) -> None:
        """Refuse what is not finite in `taken`; integers can only become so as float16."""
        if query.dtype.kind != "f" and taken.dtype != np.float16:
            return
        if bad := not_finite(taken):
            raise BadQuery(f"{bad} values are not finite, or too large for {taken.dtype}")
