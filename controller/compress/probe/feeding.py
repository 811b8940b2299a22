"""What an engine is fed for raw queries, and what its raw outputs mean: the agent's arithmetic, in numpy.

Decides: which pipelines can be fed from here. An emulated device would take minutes for its pre-processing alone, whose
outputs no processor changes: the controller does it. Leaves out: running the engine. Pure.

    fed(pipeline, queries)  # int8, shape (128, 427, 1)
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from controller.models.preprocess import prepare
from wire.spec import Pipeline, TensorSpec, TextPre, output_tensors

Array = NDArray[Any]


def unfit(pipeline: Pipeline) -> str | None:
    """Return why a pipeline cannot be fed from here, or null where it can."""
    if isinstance(pipeline.pre, TextPre):
        return "a model of text takes tokens, which only the agent makes"
    if pipeline.state:
        return "a model that keeps state answers by what came before"
    return None


def fed(pipeline: Pipeline, queries: Array) -> Array:
    """Return what the engine takes, in the model's layout and type, shape (n, …).

    Raises:
        UnusableData: A query that the pipeline refuses.
    """
    return quantised(prepare(pipeline.pre, queries), pipeline.pre.input)


def quantised(values: Array, tensor: TensorSpec) -> Array:
    """Return saturate(round_half_even(x / scale) + zero_point) in float32, or the values in the tensor's type."""
    if tensor.quantisation is None:
        return np.ascontiguousarray(values, dtype=tensor.dtype)
    scale, zero_point = np.float32(tensor.quantisation.scale), tensor.quantisation.zero_point
    span = np.iinfo(tensor.dtype)
    levels = np.rint(values.astype(np.float32) / scale).astype(np.float64) + zero_point
    return np.ascontiguousarray(np.clip(levels, span.min, span.max), dtype=tensor.dtype)


def read(pipeline: Pipeline, outputs: Sequence[Array]) -> NDArray[np.float32]:
    """Return raw outputs as the agent gives them: float32, de-quantised, several flat and one behind the other.

    Args:
        pipeline: Says what they are.
        outputs: One array for each that is read, shape (n, …).
    """
    tensors = output_tensors(pipeline.post)
    known = [dequantised(values, tensor) for values, tensor in zip(outputs, tensors, strict=True)]
    if len(known) == 1:
        return known[0]
    return np.concatenate([each.reshape(len(each), -1) for each in known], axis=1)


def dequantised(values: Array, tensor: TensorSpec) -> NDArray[np.float32]:
    """Return (q - zero_point) * scale as float32."""
    if tensor.quantisation is None:
        return values.astype(np.float32)
    steps = (values.astype(np.int64) - tensor.quantisation.zero_point).astype(np.float32)
    return np.asarray(steps * np.float32(tensor.quantisation.scale), dtype=np.float32)
