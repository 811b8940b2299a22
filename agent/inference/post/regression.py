"""Outputs into values of the target's units."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.errors import BadBundle
from agent.inference.kernels import table
from agent.inference.kernels.compiled import Kernel
from agent.inference.post.base import Answer, Floats, Outputs, Reader, Surroundings
from wire import spec


class Regression:
    """De-normalised values of a query."""

    def __init__(self, post: spec.RegressionPost, _: Surroundings) -> None:
        self._reader = Reader(post.output)
        self._post = post
        self._raw: Floats | None = None
        self.readers = self._reader.readers
        self.kernels: tuple[Kernel[..., Any], ...] = (*self.readers, table.rescale)

    def dequantise(self, outputs: Outputs) -> Floats:
        return self._reader.read(outputs[0])

    def finish(self, outputs: Outputs) -> Answer:
        raw = self._reader.read(outputs[0])
        if raw is not self._raw:
            self._allocate(raw)
        self._rescale()
        return Answer(tuple(self._values.tolist()))

    def _allocate(self, raw: Floats) -> None:
        self._raw = raw
        self._values = np.zeros(raw.size)
        scale, offset = (_spread(name, getattr(self._post, name), raw.size) for name in ("scale", "offset"))
        self._rescale = table.rescale.bind(raw, scale, offset, self._values)


def _spread(name: str, numbers: tuple[float, ...], outputs: int) -> NDArray[np.float64]:
    if len(numbers) not in (1, outputs):
        raise BadBundle(f"{len(numbers)} numbers in `{name}`, the model gives {outputs} outputs")
    return np.array(np.broadcast_to(np.array(numbers, dtype=np.float64), outputs))
