"""Post-processing: the engine's output into an answer, as the specification says."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from agent.errors import BadBundle
from agent.inference.kernels import cast, classify, table
from agent.inference.kernels.compiled import Kernel
from wire import spec

Array = NDArray[np.generic]
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Answer:
    """What the bundle says of one query.

    Classification: `classes` and `labels`, best first, with `values` their probabilities. Regression: `values` in the
    target's units.
    """

    values: tuple[float, ...]
    classes: tuple[int, ...] = ()
    labels: tuple[str, ...] = ()


class Post(Protocol):
    """Reads one output of the engine."""

    index: int
    kernels: tuple[Kernel[..., Any], ...]
    """All that `finish` calls; `readers` are those that `dequantise` calls."""
    readers: tuple[Kernel[..., Any], ...]

    def dequantise(self, output: Array) -> Floats:
        """Return `output` as flat float32, in a buffer that the next call overwrites."""

    def finish(self, output: Array) -> Answer: ...


def make_post(post: spec.PostSpec, index: int) -> Post:
    """Return the post-processing that `post` declares, reading the engine's output number `index`."""
    return _Classification(post, index) if isinstance(post, spec.ClassificationPost) else _Regression(post, index)


class _Output:
    """The engine's output, copied into buffers that stay where they are, and de-quantised there."""

    def __init__(self, tensor: spec.TensorSpec, index: int) -> None:
        self.index = index
        self._quantisation = tensor.quantisation
        readers: dict[str, Kernel[..., None]] = {"int8": cast.read_int8, "uint8": cast.read_uint8}
        self.readers: tuple[Kernel[..., Any], ...] = (readers[tensor.dtype],) if tensor.dtype in readers else ()
        self._raw: Any = np.zeros(0, dtype=tensor.dtype)
        self._floats: Floats = np.zeros(0, dtype=np.float32)
        self._read: Callable[[], None] | None = None

    def dequantise(self, output: Array) -> Floats:
        if self._floats.size != output.size:
            self._allocate(output.size)
        if self._read is None:
            self._floats[:] = output.reshape(-1)
        else:
            self._raw[:] = output.reshape(-1)
            self._read()
        return self._floats

    def _allocate(self, size: int) -> None:
        self._floats = np.zeros(size, dtype=np.float32)
        if self.readers and self._quantisation is not None:
            self._raw = np.zeros(size, dtype=self._raw.dtype)
            affine = (self._quantisation.scale, self._quantisation.zero_point)
            self._read = self.readers[0].bind(self._raw, *affine, self._floats)


class _Classification(_Output):
    def __init__(self, post: spec.ClassificationPost, index: int) -> None:
        super().__init__(post.output, index)
        self._post = post
        activations: dict[str, tuple[Kernel[..., None], ...]] = {
            "softmax": (classify.softmax,),
            "sigmoid": (classify.sigmoid,),
            "none": (),
        }
        self._activations = activations[post.activation]
        self._steps: list[Callable[[], Any]] = []
        self.kernels: tuple[Kernel[..., Any], ...] = (*self.readers, *self._activations, classify.top_k)

    def finish(self, output: Array) -> Answer:
        self.dequantise(output)
        for step in self._steps:
            step()
        classes = tuple(self._best.tolist())
        labels = tuple(self._post.labels[number] for number in classes) if self._post.labels else ()
        return Answer(tuple(self._probabilities[self._best].tolist()), classes, labels)

    def _allocate(self, size: int) -> None:
        if size == 0 or (self._post.labels and len(self._post.labels) != size):
            raise BadBundle(f"the model gives {size} scores, the specification has {len(self._post.labels)} labels")
        super()._allocate(size)
        self._probabilities = np.zeros(size, dtype=np.float32) if self._activations else self._floats
        self._best = np.zeros(min(self._post.top_k, size), dtype=np.int64)
        activations = [activation.bind(self._floats, self._probabilities) for activation in self._activations]
        self._steps = [*activations, classify.top_k.bind(self._probabilities, self._best)]


class _Regression(_Output):
    def __init__(self, post: spec.RegressionPost, index: int) -> None:
        super().__init__(post.output, index)
        self._post = post
        self.kernels: tuple[Kernel[..., Any], ...] = (*self.readers, table.rescale)

    def finish(self, output: Array) -> Answer:
        self.dequantise(output)
        self._rescale()
        return Answer(tuple(self._values.tolist()))

    def _allocate(self, size: int) -> None:
        super()._allocate(size)
        self._values = np.zeros(size)
        scale, offset = _spread("scale", self._post.scale, size), _spread("offset", self._post.offset, size)
        self._rescale = table.rescale.bind(self._floats, scale, offset, self._values)


def _spread(name: str, numbers: tuple[float, ...], outputs: int) -> NDArray[np.float64]:
    if len(numbers) not in (1, outputs):
        raise BadBundle(f"{len(numbers)} numbers in `{name}`, the model gives {outputs} outputs")
    return np.array(np.broadcast_to(np.array(numbers, dtype=np.float64), outputs))
