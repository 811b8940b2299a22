"""Query -> answer: what a bundle's specification says is done around an inference.

Decides: that the specification fits the model, and which kernels run. Leaves out: what the kernels compute.
Buffers are allocated once; a pipeline serves one query at a time.

    pipeline = open_pipeline(Bundle.open(folder), threads=1)
    pipeline.prepare(query); raw = pipeline.infer(); answer = pipeline.finish(raw)
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.errors import BadBundle
from agent.inference.bundle import Bundle
from agent.inference.engines.base import Engine
from agent.inference.engines.registry import engine_class
from agent.inference.post import Answer, Post, make_post
from agent.inference.pre import Pre, make_pre
from agent.inference.shapes import check_tensor
from wire import spec

Array = NDArray[np.generic]


@dataclass
class Pipeline:
    """Pre-processing, engine and post-processing of one bundle."""

    engine: Engine
    pre: Pre
    post: Post

    def prepare(self, query: NDArray[Any]) -> Array:
        """Bring `query` into the engine's input buffer and return that buffer.

        Raises:
            BadQuery: The query does not fit the specification.
        """
        return self.pre.prepare(query)

    def infer(self) -> Array:
        """Run the engine on the prepared buffer and return its output as it is.

        Raises:
            EngineFailed: The engine failed.
        """
        return self.engine.infer(self.pre.feeds)[self.post.index]

    def raw(self, query: NDArray[Any]) -> NDArray[np.float32]:
        """Return the model's output for `query`, de-quantised, without its batch axis (a copy)."""
        self.prepare(query)
        output = self.infer()
        return self.post.dequantise(output).reshape(output.shape[1:]).copy()

    def finish(self, output: Array) -> Answer:
        """Return the answer that `output`, as `infer` gave it, stands for."""
        return self.post.finish(output)

    def answer(self, query: NDArray[Any]) -> Answer:
        """Return the answer to `query`.

        Raises:
            BadQuery: The query does not fit the specification.
            EngineFailed: The engine failed.
        """
        self.prepare(query)
        return self.finish(self.infer())

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
    return make_pipeline(manifest.pipeline, engine)


def make_pipeline(pipeline: spec.Pipeline, engine: Engine) -> Pipeline:
    """Check the specification against the loaded model, and allocate the buffers.

    Raises:
        BadBundle: A name, shape, dtype or quantisation differs.
    """
    if len(engine.inputs) != 1:
        listed = ", ".join(value.name for value in engine.inputs)
        raise BadBundle(f"the model takes {len(engine.inputs)} inputs ({listed}): a pipeline feeds one")
    names = [value.name for value in engine.outputs]
    wanted = pipeline.post.output
    if wanted.name not in names:
        raise BadBundle(f"the specification names output {wanted.name!r}, the model has {', '.join(names)}")
    index = names.index(wanted.name)
    check_tensor("input", pipeline.pre.input, engine.inputs[0])
    check_tensor("output", wanted, engine.outputs[index])
    pre = make_pre(pipeline.pre, engine.inputs[0].shape)
    return Pipeline(engine, pre, make_post(pipeline.post, index))
