"""Tensors that are the model's input already: cast or quantised, nothing else.

Decides: what a query means by its dtype. One of the input's own dtype goes in as it is: int8 into an int8 input are
levels, not numbers that would be quantised. Into int32 and int64 go whole numbers of any dtype that lie in range.
"""

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
from wire.spec.base import RANGES

WHOLE = ("int32", "int64")


class Tensor:
    geometry: Doubles | None = None

    def __init__(self, pre: spec.TensorPre, place: Place) -> None:
        shape = query_shape(pre.input.shape, place.shape(pre.input))
        array = place.buffer(pre.input, shape)
        self._dtype = pre.input.dtype
        self._input: NDArray[Any] = array.reshape(shape[1:])  # a view, also of one number
        self._levels = None if array.dtype.kind == "f" or self._dtype in WHOLE else Levels(pre.input, array)
        self.feeds: tuple[Array, ...] = (array,)
        self.kernels: tuple[Kernel[..., Any], ...] = () if self._levels is None else (self._levels.kernel,)

    def prepare(self, query: NDArray[Any]) -> Array:
        taken = self._input
        if query.shape != taken.shape:
            raise BadQuery(f"expected a tensor of shape {taken.shape}, given {query.shape}")
        if query.dtype == taken.dtype:
            take(query, taken)
        elif self._levels is not None:
            return self._levels.write(query)
        elif self._dtype in WHOLE:
            refuse_out_of_range(query, self._dtype)
            take(query, taken)
        else:
            with np.errstate(over="ignore"):
                take(query, taken)
        refuse_not_finite(query, taken)
        return self.feeds[0]


class Levels:
    """Quantises numbers into the input's levels."""

    def __init__(self, tensor: spec.TensorSpec, array: Array) -> None:
        self._values = np.zeros((1, math.prod(array.shape)))
        statistics = Statistics(spec.NoNormalisation(), self._values)
        self._buffer = Buffer(tensor, array, (1, 1), self._values, statistics.normal)
        self.kernel = self._buffer.kernel

    def write(self, query: NDArray[Any]) -> Array:
        take(query.reshape(-1), self._values[0])
        refuse_not_finite(query, self._values)
        return self._buffer.write()


def refuse_not_finite(query: NDArray[Any], taken: NDArray[Any]) -> None:
    """Refuse what is not finite in `taken`; integers can only become so as float16.

    Raises:
        BadQuery: How many values, and which dtype they do not fit.
    """
    if taken.dtype.kind != "f" or (query.dtype.kind != "f" and taken.dtype != np.float16):
        return
    if bad := not_finite(taken):
        raise BadQuery(f"{bad} values are not finite, or too large for {taken.dtype}")


def refuse_out_of_range(query: NDArray[Any], dtype: spec.DType) -> None:
    """Refuse numbers that `dtype` does not hold as they are.

    Raises:
        BadQuery: Its range, and that of the query.
    """
    if query.dtype.kind not in "fiub":
        raise BadQuery(f"expected numbers, given dtype {query.dtype}")
    least, largest = RANGES[dtype]
    low, high = query.min().item(), query.max().item()  # Python compares them exactly
    if not (least <= low and high <= largest):
        raise BadQuery(f"expected whole numbers from {least} to {largest} for {dtype}, given {low} to {high}")
    if query.dtype.kind == "f" and (broken := int(np.count_nonzero(query != np.floor(query)))):
        raise BadQuery(f"expected whole numbers for {dtype}, given {broken} that are broken ones")
