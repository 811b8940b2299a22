"""What all post-processing shares: the answer, and how an engine's output is read."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from agent.inference.kernels import cast
from agent.inference.kernels.compiled import Kernel
from wire import spec

Array = NDArray[np.generic]
Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Outputs = Sequence[Array]
"""The engine's outputs that the specification reads, in the order of `spec.output_tensors`, with their batch axis."""


@dataclass(frozen=True)
class Answer:
    """What the bundle says of one query.

    Classification: `classes` and `labels`, best first, with `values` their probabilities, and `best`, the class of the
    largest score whether or not it reaches the threshold (-1: no classification). Regression: `values` in the target's
    units. Detection: `boxes` (left, top, right, bottom) in the query's pixels, best first, with `classes`, `labels` and
    their scores in `values`. Segmentation: `mask` of class numbers, (rows, columns) uint8, and for the classes that
    occur `classes`, `labels` and their shares of the pixels in `values`, largest first.
    """

    values: tuple[float, ...]
    classes: tuple[int, ...] = ()
    labels: tuple[str, ...] = ()
    boxes: tuple[tuple[float, float, float, float], ...] = ()
    mask: NDArray[np.uint8] | None = None
    best: int = -1


@dataclass(frozen=True)
class Surroundings:
    """What post-processing is built with: the bundle's folder, and how the last query lies in the model's input."""

    folder: Path | None = None
    geometry: Doubles | None = None
    """The buffer of `Pre.geometry`; None where pre-processing keeps none. Before the first query it holds the size of
    the model's own picture."""


def single(number: float) -> float:
    """Return `number` as float32 holds it: a threshold is compared with outputs, which are rounded so."""
    with np.errstate(over="ignore"):
        return float(np.float32(number))


class Post(Protocol):
    """Reads outputs of the engine."""

    kernels: tuple[Kernel[..., Any], ...]
    """All that `finish` calls; `readers` are those that `dequantise` calls."""
    readers: tuple[Kernel[..., Any], ...]

    def dequantise(self, outputs: Outputs) -> Floats:
        """Return the outputs as flat float32, one behind the other, in a buffer that the next call overwrites."""

    def finish(self, outputs: Outputs) -> Answer: ...


class Reader:
    """One output of the engine, copied into a buffer that stays where it is, and de-quantised there."""

    def __init__(self, tensor: spec.TensorSpec) -> None:
        self.name = tensor.name
        self._quantisation = tensor.quantisation
        readers: dict[str, Kernel[..., None]] = {"int8": cast.read_int8, "uint8": cast.read_uint8}
        self.readers: tuple[Kernel[..., Any], ...] = (readers[tensor.dtype],) if tensor.dtype in readers else ()
        self._raw: Any = np.zeros(0, dtype=tensor.dtype)
        self._floats: Floats = np.zeros(0, dtype=np.float32)
        self._read: Callable[[], None] | None = None
        self._output: Array | None = None
        self._view = self._floats

    def read(self, output: Array) -> Floats:
        """Return `output` as flat float32, in a buffer that the next call overwrites."""
        if self._floats.size != output.size:
            self._allocate(output.size)
        if self._read is None:
            self._floats[:] = output.reshape(-1)
        else:
            self._raw[:] = output.reshape(-1)
            self._read()
        return self._floats

    def view(self, output: Array) -> Floats:
        """Return `output` as flat float32, where it lies if it is that already: large ones are not copied.

        Another output may mean another array: who has bound a kernel to the last one looks whether it is the same.
        """
        if output.dtype != np.float32 or not output.flags.c_contiguous:
            return self.read(output)
        if output is not self._output:
            self._output, self._view = output, np.asarray(output, dtype=np.float32).reshape(-1)
        return self._view

    def _allocate(self, size: int) -> None:
        self._floats = np.zeros(size, dtype=np.float32)
        if self.readers and self._quantisation is not None:
            self._raw = np.zeros(size, dtype=self._raw.dtype)
            affine = (self._quantisation.scale, self._quantisation.zero_point)
            self._read = self.readers[0].bind(self._raw, *affine, self._floats)
