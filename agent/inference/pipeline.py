"""Query -> answer: what a bundle's specification says is done around an inference.

Decides: that the specification fits the model, and which kernels run. Leaves out: what the kernels compute.
Buffers are allocated once; a pipeline serves one query at a time.

    pipeline = open_pipeline(Bundle.open(folder), threads=1)
    pipeline.prepare(query); raw = pipeline.infer(); answer = pipeline.finish(raw)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.errors import BadBundle, EngineFailed
from agent.inference.bundle import Bundle
from agent.inference.engines.base import Engine, TensorInfo
from agent.inference.engines.registry import engine_class
from agent.inference.post import Answer, Post, Surroundings, make_post
from agent.inference.post.base import Outputs
from agent.inference.pre import Place, Pre, make_pre
from agent.inference.pre.base import Remembering
from agent.inference.shapes import check_tensor
from wire import spec

Array = NDArray[np.generic]


@dataclass(frozen=True)
class StateBuffer:
    """State: the buffer of an input, the place of the output that goes into it, and what a stream begins with."""

    buffer: Array
    place: int
    start: int

    def take(self, outputs: Outputs) -> None:
        """Keep what the last query left.

        Raises:
            EngineFailed: The model gives state of another size than it takes.
        """
        given = outputs[self.place]
        if given.shape != self.buffer.shape:
            raise EngineFailed(f"the model gives state of shape {given.shape} and takes {self.buffer.shape}")
        np.copyto(self.buffer, given)


@dataclass
class Pipeline:
    """Pre-processing, engine and post-processing of one bundle."""

    engine: Engine
    pre: Pre
    post: Post
    feeds: tuple[Array, ...]
    """The buffers of `pre`, in the order of the engine's inputs."""
    reads: tuple[int, ...]
    """Which of the engine's outputs `post` takes, in its order."""
    carried: tuple[StateBuffer, ...] = ()

    def prepare(self, query: NDArray[Any]) -> Array:
        """Bring `query` into the engine's input buffer and return that buffer.

        Raises:
            BadQuery: The query does not fit the specification.
        """
        return self.pre.prepare(query)

    def infer(self) -> Outputs:
        """Run the engine on the prepared buffers and return those of its outputs that are read, as they are.

        Raises:
            EngineFailed: The engine failed.
        """
        outputs = self.engine.infer(self.feeds)
        for state in self.carried:
            state.take(outputs)
        return [outputs[index] for index in self.reads]

    def raw(self, query: NDArray[Any]) -> NDArray[np.float32]:
        """Return the model's output for `query`, de-quantised, without its batch axis (a copy).

        Of several outputs that are read: all, flat, one behind the other.
        """
        self.prepare(query)
        outputs = self.infer()
        raw = self.post.dequantise(outputs)
        return raw.reshape(outputs[0].shape[1:]).copy() if len(outputs) == 1 else raw.copy()

    def finish(self, outputs: Outputs) -> Answer:
        """Return the answer that `outputs`, as `infer` gave them, stand for."""
        return self.post.finish(outputs)

    def answer(self, query: NDArray[Any]) -> Answer:
        """Return the answer to `query`.

        Raises:
            BadQuery: The query does not fit the specification.
            EngineFailed: The engine failed.
        """
        self.prepare(query)
        return self.finish(self.infer())

    def forget(self) -> None:
        """Drop what earlier queries left behind: in a stream's pre-processing, and in a model that keeps state."""
        self.engine.reset()
        for state in self.carried:
            state.buffer.fill(state.start)
        if isinstance(self.pre, Remembering):
            self.pre.forget()

    def close(self) -> None:
        self.engine.close()


def open_pipeline(bundle: Bundle, threads: int) -> Pipeline:
    """Load the bundle's model and build the pipeline around it.

    Raises:
        EngineUnavailable: The bundle's engine is not installed.
        EngineFailed: The engine refuses the model.
        BadBundle: The specification does not fit the model.
    """
    manifest = bundle.manifest
    engine = engine_class(manifest.engine).load(bundle.model_path, manifest.engine_options, threads)
    return make_pipeline(manifest.pipeline, engine, folder=bundle.root)


def make_pipeline(
    pipeline: spec.Pipeline, engine: Engine, folder: Path | None = None, rows: Mapping[str, Array] | None = None
) -> Pipeline:
    """Check the specification against the loaded model, and allocate the buffers.

    Args:
        pipeline: What the bundle declares.
        engine: Loaded.
        folder: The bundle's, for specifications that name a file of it.
        rows: Buffers of one query by input, which belong to a batch; null: the pipeline has its own.
    Raises:
        BadBundle: A name, shape, dtype or quantisation differs.
        EngineUnavailable: The specification needs a library that is not installed.
    """
    taken = _matched("input", spec.input_tensors(pipeline.pre), engine.inputs)
    kept, carried = _carried(pipeline.state or (), engine)
    if sorted({*taken, *kept}) != list(range(len(engine.inputs))) or {*taken} & {*kept}:
        listed, fed = ", ".join(value.name for value in engine.inputs), len(taken) + len(kept)
        raise BadBundle(f"the model takes {len(engine.inputs)} inputs ({listed}): the specification feeds {fed}")
    reads = _matched("output", spec.output_tensors(pipeline.post), engine.outputs)
    shapes = {value.name: value.shape for value in engine.inputs}
    pre = make_pre(pipeline.pre, Place(shapes, folder, rows or {}))
    post = make_post(pipeline.post, Surroundings(folder, pre.geometry))
    feeds = dict(zip(taken, pre.feeds, strict=True)) | kept
    return Pipeline(engine, pre, post, tuple(feeds[place] for place in range(len(feeds))), reads, carried)


def _carried(state: Sequence[spec.StateTensor], engine: Engine) -> tuple[dict[int, Array], tuple[StateBuffer, ...]]:
    """Return the buffers of state by the place of their input, as a stream begins; a free axis is the batch."""
    taken = _matched("input", [tensor.input for tensor in state], engine.inputs, batched=False)
    given = _matched("output", [tensor.output for tensor in state], engine.outputs, batched=False)
    buffers, carried = {}, []
    for tensor, place, output in zip(state, taken, given, strict=True):
        found, scale = engine.inputs[place], tensor.input.quantisation
        start = scale.zero_point if scale else 0
        buffers[place] = np.full([max(1, size) for size in found.shape], start, dtype=found.dtype)
        carried.append(StateBuffer(buffers[place], output, start))
    return buffers, tuple(carried)


def _matched(
    role: str, declared: Sequence[spec.TensorSpec], found: Sequence[TensorInfo], batched: bool = True
) -> tuple[int, ...]:
    """Return where each of `declared` stands among the model's; each is checked against its own.

    Of state the first axis is not the batch: it may have any size.
    """
    names, places = [value.name for value in found], []
    for tensor in declared:
        if tensor.name not in names:
            raise BadBundle(
                f"the specification names {role} {tensor.name!r}, the model has {', '.join(map(repr, names))}"
            )
        places.append(names.index(tensor.name))
        check_tensor(role, tensor, found[places[-1]], batched=batched)
    return tuple(places)
