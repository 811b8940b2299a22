"""Pre-processing: a query into the engine's input buffer, as the specification says.

Decides: which kernels run in which order: NaN rule, resampling, statistics, then one pass that normalises, casts or
quantises and lays out; that an engine is fed finite numbers only. Leaves out: the arithmetic (`kernels/`).

NaN stands for a missing value: series and rows have a rule for it, tensors refuse it. Infinities, and numbers that do
not fit the model's dtype, are refused everywhere. Only quantisation saturates: that is its arithmetic.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from agent.errors import BadBundle, BadQuery
from agent.inference.kernels import cast, series, table
from agent.inference.kernels.compiled import Kernel
from agent.inference.shapes import query_shape
from wire import spec

Array = NDArray[np.generic]
Doubles = NDArray[np.float64]


class Pre(Protocol):
    """Fills one buffer, again and again."""

    feeds: tuple[Array, ...]
    kernels: tuple[Kernel[..., Any], ...]

    def prepare(self, query: NDArray[Any]) -> Array: ...


def make_pre(pre: spec.PreSpec, model_shape: Sequence[int]) -> Pre:
    """Return the pre-processing that `pre` declares, for a model whose input has `model_shape`.

    Raises:
        BadBundle: The specification contradicts itself or the model.
    """
    if isinstance(pre, spec.SeriesPre):
        return _Series(pre, model_shape)
    if isinstance(pre, spec.TablePre):
        return _Table(pre, model_shape)
    return _Tensor(pre, model_shape)


class _Statistics:
    """Mean and divisor per channel, `normal` of shape (2, channels): fixed ones, or those of the window."""

    def __init__(self, normalise: spec.Normalise, values: Doubles) -> None:
        channels = values.shape[0]
        self.normal = np.stack([np.zeros(channels), np.ones(channels)])
        self.kernels: tuple[Kernel[..., Any], ...] = ()
        self.update: Callable[[], None] = _nothing
        if isinstance(normalise, spec.ZScore) and normalise.statistics == "window":
            self.kernels = (series.window_statistics,)
            fixed = (normalise.ddof, normalise.epsilon)
            self.update = series.window_statistics.bind(values, *fixed, self.normal)
        elif isinstance(normalise, spec.ZScore):
            if len(normalise.mean) != channels:
                raise BadBundle(f"training statistics of {len(normalise.mean)} channels, the query has {channels}")
            self.normal[0] = normalise.mean
            self.normal[1] = np.maximum(normalise.deviation, normalise.epsilon)


class _Buffer:
    """The engine's input and the kernel that writes it."""

    def __init__(
        self,
        tensor: spec.TensorSpec,
        shape: tuple[int, ...],
        strides: Sequence[int],
        values: Doubles,
        statistics: _Statistics,
    ) -> None:
        self.array: Array = np.zeros(shape, dtype=tensor.dtype)
        self._flat: Any = self.array.reshape(-1)
        # Processors without half precision cannot compile for float16: it is cast from a float32 buffer.
        self._single = np.zeros(self._flat.size, dtype=np.float32) if tensor.dtype == "float16" else None
        writers: dict[str, Kernel[..., None]] = {"int8": cast.write_int8, "uint8": cast.write_uint8}
        self.kernel: Kernel[..., None] = writers.get(tensor.dtype, cast.write_float32)
        quantisation = tensor.quantisation if tensor.dtype in writers else None
        affine = () if quantisation is None else (np.array([quantisation.scale, quantisation.zero_point]),)
        out = self._flat if self._single is None else self._single
        steps = np.array(strides, dtype=np.int64)
        self._write = self.kernel.bind(values, statistics.normal, steps, *affine, out)
        # Integers are always finite: what could be wrong there are the statistics of a window of huge numbers.
        self._checked: Any = self._flat if self.array.dtype.kind == "f" else statistics.normal

    def write(self) -> Array:
        self._write()
        if self._single is not None:
            with np.errstate(over="ignore"):
                self._flat[:] = self._single
        if bad := _not_finite(self._checked):
            raise BadQuery(f"numbers too large: {bad} are not finite after pre-processing to {self.array.dtype}")
        return self.array


class _Series:
    def __init__(self, pre: spec.SeriesPre, model_shape: Sequence[int]) -> None:
        natural = (pre.channels, pre.length) if pre.layout == "NCL" else (pre.length, pre.channels)
        shape = query_shape(pre.input.shape, model_shape, natural)
        if [axis for axis in shape if axis != 1] != [axis for axis in natural if axis != 1]:
            raise BadBundle(f"a {pre.layout} series of {natural} does not fit the model's input {shape}")
        strides = (pre.length, 1) if pre.layout == "NCL" else (1, pre.channels)
        self._pre = pre
        self._rule = series.NAN_RULES[pre.nan]
        self._values = np.zeros((pre.channels, pre.length))
        self._statistics = _Statistics(pre.normalise, self._values)
        self._buffer = _Buffer(pre.input, shape, strides, self._values, self._statistics)
        self._repair = series.repair_series.bind(self._values, self._rule)
        self.feeds: tuple[Array, ...] = (self._buffer.array,)
        resampling = (series.resample_linear,) if pre.resize == "linear" else ()
        self.kernels: tuple[Kernel[..., Any], ...] = (
            series.repair_series,
            *resampling,
            *self._statistics.kernels,
            self._buffer.kernel,
        )

    def prepare(self, query: NDArray[Any]) -> Array:
        pre = self._pre
        if query.ndim == 1 and pre.channels == 1:
            query = query[np.newaxis]
        resized = query.ndim == 2 and query.shape[1] != pre.length and pre.resize == "linear" and query.shape[1] > 0
        if query.ndim != 2 or query.shape[0] != pre.channels or (query.shape[1] != pre.length and not resized):
            raise BadQuery(f"expected a series of shape ({pre.channels}, {pre.length}), given {query.shape}")
        bad = self._take_resized(query) if resized else self._take_whole(query)
        if bad:
            raise BadQuery(f"{bad} values are not finite, and the rule is {pre.nan!r}")
        self._statistics.update()
        return self._buffer.write()

    def _take_whole(self, query: NDArray[Any]) -> int:
        _take(query, self._values)
        self._refuse_infinities(self._values)
        return self._repair()

    def _take_resized(self, query: NDArray[Any]) -> int:
        source = np.zeros(query.shape)
        _take(query, source)
        self._refuse_infinities(source)
        bad = series.repair_series(source, self._rule)
        if not bad:
            series.resample_linear(source, self._values)
        return bad

    def _refuse_infinities(self, values: Doubles) -> None:
        if self._pre.nan != "error":  # which counts them
            _refuse_infinities(values)


class _Table:
    def __init__(self, pre: spec.TablePre, model_shape: Sequence[int]) -> None:
        shape = query_shape(pre.input.shape, model_shape, (pre.features,))
        if [axis for axis in shape if axis != 1] != [axis for axis in (pre.features,) if axis != 1]:
            raise BadBundle(f"a row of {pre.features} features does not fit the model's input {shape}")
        window = isinstance(pre.normalise, spec.ZScore) and pre.normalise.statistics == "window"
        if pre.nan == "mean" and (window or not isinstance(pre.normalise, spec.ZScore)):
            raise BadBundle("the NaN rule `mean` needs training statistics")
        self._pre = pre
        self._row = np.zeros(pre.features)
        # Statistics stand per channel: the row is one channel for its own, one channel a feature for training ones.
        self._values = self._row.reshape((1, -1) if window else (-1, 1))
        statistics = _Statistics(pre.normalise, self._values)
        self._update = statistics.update
        self._buffer = _Buffer(pre.input, shape, (1, 1), self._values, statistics)
        self._repair = table.repair_row.bind(self._row, table.NAN_RULES[pre.nan], statistics.normal[0])
        self.feeds: tuple[Array, ...] = (self._buffer.array,)
        self.kernels: tuple[Kernel[..., Any], ...] = (table.repair_row, *statistics.kernels, self._buffer.kernel)

    def prepare(self, query: NDArray[Any]) -> Array:
        if query.shape != self._row.shape:
            raise BadQuery(f"expected a row of shape {self._row.shape}, given {query.shape}")
        _take(query, self._row)
        if self._pre.nan != "error":  # which counts them
            _refuse_infinities(self._row)
        bad = self._repair()
        if bad:
            raise BadQuery(f"{bad} values are not finite, and the rule is {self._pre.nan!r}")
        self._update()
        return self._buffer.write()


class _Tensor:
    def __init__(self, pre: spec.TensorPre, model_shape: Sequence[int]) -> None:
        shape = query_shape(pre.input.shape, model_shape)
        self._values = np.zeros((1, math.prod(shape)))
        statistics = _Statistics(spec.NoNormalisation(), self._values)
        self._buffer = _Buffer(pre.input, shape, (1, 1), self._values, statistics)
        self._plain = self._buffer.array.dtype.kind == "f"
        self.feeds: tuple[Array, ...] = (self._buffer.array,)
        self.kernels: tuple[Kernel[..., Any], ...] = () if self._plain else (self._buffer.kernel,)

    def prepare(self, query: NDArray[Any]) -> Array:
        array = self._buffer.array
        if query.shape != array.shape[1:]:
            raise BadQuery(f"expected a tensor of shape {array.shape[1:]}, given {query.shape}")
        if query.dtype == array.dtype:
            _take(query, array[0])
        elif self._plain:
            with np.errstate(over="ignore"):
                _take(query, array[0])
        else:
            _take(query.reshape(-1), self._values[0])
            self._check(query, self._values)
            return self._buffer.write()
        self._check(query, array)
        return array

    def _check(self, query: NDArray[Any], taken: NDArray[Any]) -> None:
        """Refuse what is not finite in `taken`; integers can only become so as float16."""
        if query.dtype.kind != "f" and taken.dtype != np.float16:
            return
        if bad := _not_finite(taken):
            raise BadQuery(f"{bad} values are not finite, or too large for {taken.dtype}")


def _nothing() -> None:
    """Statistics that never change."""


def _not_finite(values: NDArray[Any]) -> int:
    """Return how many are NaN or infinite."""
    return values.size - int(np.count_nonzero(np.isfinite(values)))  # half the time of `.all()` on small arrays


def _refuse_infinities(values: Doubles) -> None:
    """Leave NaN to the rule: it is a missing value, an infinity is a wrong one."""
    if infinite := int(np.count_nonzero(np.isinf(values))):
        raise BadQuery(f"{infinite} values are infinite: a missing value is NaN")


def _take(query: NDArray[Any], values: NDArray[Any]) -> None:
    if query.dtype.kind not in "fiub":
        raise BadQuery(f"expected numbers, given dtype {query.dtype}")
    np.copyto(values, query, casting="unsafe")
