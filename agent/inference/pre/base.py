"""What all pre-processing shares: where it writes, statistics, the engine's buffer, refusals.

NaN stands for a missing value: series and rows have a rule for it, tensors refuse it. Infinities, and numbers that do
not fit the model's dtype, are refused everywhere; series and rows refuse numbers beyond 1e100 too, so that neither a
difference nor a window's statistics can overflow. Only quantisation saturates: that is its arithmetic.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from agent.errors import BadBundle, BadQuery
from agent.inference.kernels import cast
from agent.inference.kernels.compiled import Kernel
from wire import spec
from wire.spec.base import REAL
from wire.spec.normalise import LARGEST_NUMBER

UNUSABLE = f"not finite, or beyond {LARGEST_NUMBER:g}"
"""What values are that no rule of missing ones repairs, in messages."""
WRITERS: Mapping[str, Kernel[..., None]] = {
    "float32": cast.write_float32,
    "float16": cast.write_float32,
    "int8": cast.write_int8,
    "uint8": cast.write_uint8,
}

Array = NDArray[np.generic]
Doubles = NDArray[np.float64]


class Pre(Protocol):
    """Fills the engine's inputs, again and again."""

    feeds: tuple[Array, ...]
    """One buffer for each of `spec.input_tensors`, in that order; they stay where they are."""
    kernels: tuple[Kernel[..., Any], ...]
    geometry: Doubles | None
    """How the last query lies in the model's input, for what maps answers back; see `Geometry`. None: it does not."""

    def prepare(self, query: NDArray[Any]) -> Array:
        """Fill the buffers from `query` and return the first one.

        Raises:
            BadQuery: The query does not fit; the text says what was expected and what was given.
        """


@runtime_checkable
class Remembering(Protocol):
    """Pre-processing with a state that queries leave behind: a stream's."""

    def forget(self) -> None:
        """Be as new."""


@dataclass(frozen=True)
class Place:
    """Where pre-processing is built: the model's inputs by name, the bundle's folder, the rows to write into."""

    shapes: Mapping[str, Sequence[int]]
    """Of the model, with the batch axis; -1 where free."""
    folder: Path | None = None
    """The bundle's; None where there is none (specifications that name a file are then refused)."""
    rows: Mapping[str, Array] = field(default_factory=dict)
    """Buffers of one query, shape (1, …), that belong to a batch; inputs that are not here get their own."""

    def shape(self, tensor: spec.TensorSpec) -> tuple[int, ...]:
        return tuple(self.shapes[tensor.name])

    def buffer(self, tensor: spec.TensorSpec, shape: tuple[int, ...]) -> Array:
        """Return the buffer for `tensor`, of `shape` with its batch axis of 1, C-contiguous."""
        row = self.rows.get(tensor.name)
        return np.zeros(shape, dtype=tensor.dtype) if row is None else row


class Buffer:
    """The engine's input and the kernel that writes it."""

    def __init__(
        self,
        tensor: spec.TensorSpec,
        array: Array,
        strides: Sequence[int],
        values: Doubles,
        normal: Doubles,
    ) -> None:
        if tensor.dtype not in WRITERS:
            raise BadBundle(
                f"input {tensor.name!r} is {tensor.dtype}: expected {', '.join(REAL)} for numbers that are normalised"
            )
        self.array = array
        self._flat: Any = self.array.reshape(-1)
        # Processors without half precision cannot compile for float16: it is cast from a float32 buffer.
        self._single = np.zeros(self._flat.size, dtype=np.float32) if tensor.dtype == "float16" else None
        self.kernel = WRITERS[tensor.dtype]
        out = self._flat if self._single is None else self._single
        steps = np.array(strides, dtype=np.int64)
        self._write = self.kernel.bind(values, normal, steps, *_affine(tensor), out)
        # Values are bounded before they come here, and so are their statistics: levels need no check.
        self._is_float = self.array.dtype.kind == "f"

    def write(self) -> Array:
        self._write()
        if self._single is not None:
            with np.errstate(over="ignore"):
                self._flat[:] = self._single
        if self._is_float and (bad := not_finite(self._flat)):
            raise BadQuery(f"numbers too large: {bad} are not finite after pre-processing to {self.array.dtype}")
        return self.array


def not_finite(values: NDArray[Any]) -> int:
    """Return how many are NaN or infinite."""
    return values.size - int(np.count_nonzero(np.isfinite(values)))  # half the time of `.all()` on small arrays


def unusable(values: Doubles) -> int:
    """Return how many are NaN, infinite, or too large to be computed with."""
    return values.size - int(np.count_nonzero(np.abs(values) <= LARGEST_NUMBER))


def refuse_infinities(values: Doubles) -> None:
    """Leave NaN to the rule: it is a missing value. An infinity is a wrong one, and so is what is too large."""
    if wrong := int(np.count_nonzero(np.abs(values) > LARGEST_NUMBER)):
        raise BadQuery(f"{wrong} values are infinite, or beyond {LARGEST_NUMBER:g}: a missing value is NaN")


def take(query: NDArray[Any], values: NDArray[Any]) -> None:
    if query.dtype.kind not in "fiub":
        raise BadQuery(f"expected numbers, given dtype {query.dtype}")
    np.copyto(values, query, casting="unsafe")


def _affine(tensor: spec.TensorSpec) -> tuple[Doubles, ...]:
    """Return scale and zero point, where values become levels."""
    if tensor.dtype in ("float32", "float16"):
        return ()
    if tensor.quantisation is None:
        raise BadBundle(f"input {tensor.name!r} is {tensor.dtype}: expected its scale and zero point, given none")
    return (np.array([tensor.quantisation.scale, tensor.quantisation.zero_point]),)
