"""Scores into classes."""

from collections.abc import Callable
from typing import Any

import numpy as np

from agent.errors import BadBundle
from agent.inference.kernels import classify
from agent.inference.kernels.compiled import Kernel
from agent.inference.post.base import Answer, Floats, Outputs, Reader, Surroundings, single
from wire import spec

ACTIVATIONS: dict[str, tuple[Kernel[..., None], ...]] = {
    "softmax": (classify.softmax,),
    "sigmoid": (classify.sigmoid,),
    "none": (),
}


class Classification:
    """The best classes of a query, with their probabilities."""

    def __init__(self, post: spec.ClassificationPost, _: Surroundings) -> None:
        self._reader = Reader(post.output)
        self._post = post
        self._threshold = None if post.threshold is None else single(post.threshold)
        self._activations = ACTIVATIONS[post.activation]
        self._scores: Floats | None = None
        self._steps: list[Callable[[], Any]] = []
        self.readers = self._reader.readers
        self.kernels: tuple[Kernel[..., Any], ...] = (*self.readers, *self._activations, classify.top_k)

    def dequantise(self, outputs: Outputs) -> Floats:
        return self._reader.read(outputs[0])

    def finish(self, outputs: Outputs) -> Answer:
        scores = self._reader.read(outputs[0])
        if scores is not self._scores:
            self._allocate(scores)
        for step in self._steps:
            step()
        classes, values = self._best.tolist(), self._probabilities[self._best].tolist()
        best = classes[0]
        if self._threshold is not None:
            reached = [place for place, value in enumerate(values) if value >= self._threshold]
            classes, values = [classes[place] for place in reached], [values[place] for place in reached]
        labels = tuple(self._post.labels[number] for number in classes) if self._post.labels else ()
        return Answer(tuple(values), tuple(classes), labels, best=best)

    def _allocate(self, scores: Floats) -> None:
        size = scores.size
        if size == 0 or (self._post.labels and len(self._post.labels) != size):
            raise BadBundle(f"the model gives {size} scores, the specification has {len(self._post.labels)} labels")
        self._scores = scores
        self._probabilities = np.zeros(size, dtype=np.float32) if self._activations else scores
        self._best = np.zeros(min(self._post.top_k, size), dtype=np.int64)
        activations = [activation.bind(scores, self._probabilities) for activation in self._activations]
        self._steps = [*activations, classify.top_k.bind(scores, self._best)]
