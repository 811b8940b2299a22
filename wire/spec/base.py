"""Tensors as a bundle declares them: name, shape, dtype, quantisation."""

from typing import Literal

from pydantic import Field

from wire.base import Message

DType = Literal["float32", "float16", "int8", "uint8", "int32", "int64"]
"""int32 and int64 carry numbers of tokens and classes; they are never quantised."""

Kind = Literal["classification", "regression", "detection", "segmentation"]


class Quantisation(Message):
    """Affine quantisation of a tensor: q = round(x / scale) + zero_point, saturated to the dtype."""

    scale: float = Field(gt=0)
    zero_point: int


class TensorSpec(Message):
    """A model input or output: name, shape of one query with its batch axis (-1 where free), dtype."""

    name: str = Field(max_length=200)
    shape: tuple[int, ...] = Field(max_length=8)
    dtype: DType = "float32"
    quantisation: Quantisation | None = None
