"""Several queries in one inference: rows of shared inputs, each filled and read by processing of its own.

Decides: whether a model takes a batch, which only its answers can tell: an interpreter may resize a model whose shapes
are fixed inside, and then gives answers that look well. Leaves out: how queries are gathered.

    batch = open_batch(bundle, pipeline, 8, queries)       # the pipeline's engine belongs to the batch from now on
    batch.prepare(queries); answers = batch.finish(batch.infer())
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.errors import BatchFixed, EngineFailed
from agent.inference.bundle import Bundle
from agent.inference.engines.base import Engine
from agent.inference.pipeline import Pipeline
from agent.inference.post import Answer, Post, Surroundings, make_post
from agent.inference.post.base import Outputs
from agent.inference.pre import Place, Pre, make_pre
from wire import spec

Array = NDArray[np.generic]
Query = NDArray[Any]

ALIKE_RATIO = 1e-3
"""Outputs of a batch differ from those of single queries by at most so much of the largest one, plus one step of a
quantised output: other code multiplies larger matrices, and rounds otherwise."""


class Batch:
    """A pipeline for exactly `size` queries at once."""

    def __init__(self, bundle: Bundle, pipeline: Pipeline, size: int) -> None:
        """Allocate the rows. The engine has taken the batch size already."""
        self.size = size
        self.engine: Engine = pipeline.engine
        self._feeds = tuple(np.zeros((size, *feed.shape[1:]), dtype=feed.dtype) for feed in pipeline.feeds)
        self._reads = pipeline.reads
        rows = [self._row(bundle, row) for row in range(size)]
        self._pres: tuple[Pre, ...] = tuple(pre for pre, _ in rows)
        self._posts: tuple[Post, ...] = tuple(post for _, post in rows)

    def prepare(self, queries: Sequence[Query]) -> None:
        """Bring `size` queries into the engine's inputs.

        Raises:
            BadQuery: One does not fit the specification.
        """
        for pre, query in zip(self._pres, queries, strict=True):
            pre.prepare(query)

    def infer(self) -> Outputs:
        """Run the engine once and return the outputs that are read, with their batch axis.

        Raises:
            EngineFailed: The engine failed.
        """
        outputs = self.engine.infer(self._feeds)
        return [outputs[index] for index in self._reads]

    def finish(self, outputs: Outputs) -> list[Answer]:
        """Return the answers, in the order of the queries."""
        return [post.finish([output[row : row + 1] for output in outputs]) for row, post in enumerate(self._posts)]

    def raw(self, queries: Sequence[Query]) -> NDArray[np.float32]:
        """Return the model's outputs for `queries`, de-quantised and flat, shape (size, …).

        Raises:
            BatchFixed: The engine fails on a batch, or an output does not have one row a query.
        """
        self.prepare(queries)
        try:
            outputs = self.infer()
        except EngineFailed as exc:
            raise BatchFixed(f"a batch of {self.size} cannot be run: {exc}") from exc
        short = [output.shape for output in outputs if output.shape[:1] != (self.size,)]
        if short:
            raise BatchFixed(f"an output of a batch of {self.size} has the shape {short[0]}")
        rows = (
            post.dequantise([output[row : row + 1] for output in outputs]).copy()
            for row, post in enumerate(self._posts)
        )
        return np.stack(list(rows))

    def _row(self, bundle: Bundle, row: int) -> tuple[Pre, Post]:
        inputs, declared = self.engine.inputs, bundle.manifest.pipeline
        names, shapes = [value.name for value in inputs], {value.name: value.shape for value in inputs}
        rows = {name: feed[row : row + 1] for name, feed in zip(names, self._feeds, strict=True)}
        pre = make_pre(declared.pre, Place(shapes, bundle.root, rows))
        return pre, make_post(declared.post, Surroundings(bundle.root, pre.geometry))


def open_batch(bundle: Bundle, pipeline: Pipeline, size: int, queries: Sequence[Query]) -> Batch:
    """Return a batch of `size` around the pipeline's engine, once its answers on `queries` were seen to be the same.

    The pipeline is not to be used any more after that; where the batch is refused, it is as it was.

    Args:
        bundle: What the pipeline was opened from.
        pipeline: For one query.
        size: Queries at once.
        queries: At least one; they are taken in rotation.
    Raises:
        BatchFixed: The model takes one query at a time.
        BadQuery: A query does not fit the specification.
    """
    if pipeline.carried:
        raise BatchFixed("a model that carries state from query to query answers one at a time")
    filling = [queries[row % len(queries)] for row in range(size)]
    single = np.stack([pipeline.raw(query).reshape(-1) for query in filling])
    pipeline.engine.take_batch(size)
    try:
        batch = Batch(bundle, pipeline, size)
        _check_alike(single, batch.raw(filling), _step(bundle))
    except BatchFixed:
        pipeline.engine.take_batch(1)
        raise
    return batch


def _check_alike(single: NDArray[np.float32], batched: NDArray[np.float32], step: float) -> None:
    if single.shape != batched.shape:
        raise BatchFixed(f"outputs of shape {batched.shape} in a batch, {single.shape} one by one")
    differs = float(np.abs(single.astype(np.float64) - batched).max(initial=0.0))
    allowed = ALIKE_RATIO * float(np.abs(single).max(initial=0.0)) + step
    if not differs <= allowed:
        size = len(single)
        raise BatchFixed(f"in a batch of {size} the answers change by {differs:.3g}, {allowed:.3g} is rounding")


def _step(bundle: Bundle) -> float:
    """One step of the coarsest quantised output."""
    tensors = spec.output_tensors(bundle.manifest.pipeline.post)
    return max((tensor.quantisation.scale for tensor in tensors if tensor.quantisation), default=0.0)
