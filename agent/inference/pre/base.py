"""What all pre-processing shares: where it writes, statistics, the engine's buffer, refusals.

NaN stands for a missing value: series and rows have a rule for it, tensors refuse it. Infinities, and numbers that do
not fit the model's dtype, are refused everywhere. Only quantisation saturates: that is its arithmetic.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from agent.errors import BadQuery
from agent.inference.kernels import cast
from agent.inference.kernels.compiled import Kernel
from wire import spec

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
        self.array = array
        self._flat: Any = self.array.reshape(-1)
        # Processors without half precision cannot compile for float16: it is cast from a float32 buffer.
        self._single = np.zeros(self._flat.size, dtype=np.float32) if tensor.dtype == "float16" else None
        writers: dict[str, Kernel[..., None]] = {"int8": cast.write_int8, "uint8": cast.write_uint8}
        self.kernel: Kernel[..., None] = writers.get(tensor.dtype, cast.write_float32)
        quantisation = tensor.quantisation if tensor.dtype in writers else None
        affine = () if quantisation is None else (np.array([quantisation.scale, quantisation.zero_point]),)
        out = self._flat if self._single is None else self._single
        steps = np.array(strides, dtype=np.int64)
        self._write = self.kernel.bind(values, normal, steps, *affine, out)
        # Integers are always finite: what could be wrong there are the statistics of a window of huge numbers.
        self._checked: Any = self._flat if self.array.dtype.kind == "f" else normal

    def write(self) -> Array:
        self._write()
        if self._single is not None:
            with np.errstate(over="ignore"):
                self._flat[:] = self._single
        if bad := not_finite(self._checked):
            raise BadQuery(f"numbers too large: {bad} are not finite after pre-processing to {self.array.dtype}")
        return self.array


def not_finite(values: NDArray[Any]) -> int:
    """Return how many are NaN or infinite."""
    return values.size - int(np.count_nonzero(np.isfinite(values)))  # half the time of `.all()` on small arrays


def refuse_infinities(values: Doubles) -> None:
    """Leave NaN to the rule: it is a missing value, an infinity is a wrong one."""
    if infinite := int(np.count_nonzero(np.isinf(values))):
        raise BadQuery(f"{infinite} values are infinite: a missing value is NaN")


def take(query: NDArray[Any], values: NDArray[Any]) -> None:
    if query.dtype.kind not in "fiub":
        raise BadQuery(f"expected numbers, given dtype {query.dtype}")
    np.copyto(values, query, casting="unsafe")
