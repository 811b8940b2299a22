"""Tensors as a bundle declares them: name, shape, dtype, quantisation; and which numbers a specification may hold."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import CoreSchema, core_schema

from wire.base import Message

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler

DType = Literal["float32", "float16", "int8", "uint8", "int32", "int64"]
"""int32 and int64 carry numbers of tokens and classes; they are never quantised."""

Kind = Literal["classification", "regression", "detection", "segmentation"]

REAL: tuple[DType, ...] = ("float32", "float16", "int8", "uint8")
"""Inputs that measured numbers go into, cast or quantised."""
RANGES: Mapping[DType, tuple[int, int]] = {
    "int8": (-(2**7), 2**7 - 1),
    "uint8": (0, 2**8 - 1),
    "int32": (-(2**31), 2**31 - 1),
    "int64": (-(2**63), 2**63 - 1),
}
"""Integer dtype -> its least and its largest number."""

LEAST_SINGLE, LARGEST_SINGLE = 2.0**-126, (2.0 - 2.0**-23) * 2.0**127
"""The least normal float32 above 0, and the largest one."""
LARGEST_VALUES = 2**24
"""Most numbers in a buffer of pre-processing: more would fill a small device's memory."""
FREE = -1
"""An axis of a shape that any size goes into."""
LARGEST_AXIS = 2**31 - 1


@dataclass(frozen=True)
class Between:
    """A range of numbers; a refusal tells both ends and what was given, without a row of noughts."""

    least: float
    most: float

    def check(self, value: float) -> float:
        if not self.least <= value <= self.most:
            raise ValueError(f"a number from {self.least:g} to {self.most:g} is expected, {value:g} is given")
        return value

    def __get_pydantic_core_schema__(self, source: Any, rest: "GetCoreSchemaHandler") -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, rest(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, rest: "GetJsonSchemaHandler") -> dict[str, Any]:
        return {**rest(schema), "minimum": self.least, "maximum": self.most}


class Quantisation(Message, allow_inf_nan=False):
    """Affine quantisation of a tensor: q = round(x / scale) + zero_point, saturated to the dtype.

    The zero point is a number of the dtype; the scale is one of float32, in which is divided.
    """

    scale: Annotated[float, Between(LEAST_SINGLE, LARGEST_SINGLE)]
    zero_point: int


class TensorSpec(Message):
    """A model input or output: name, shape of one query with its batch axis (-1 where free), dtype."""

    name: str = Field(max_length=200)
    shape: tuple[int, ...] = Field(max_length=8)
    dtype: DType = "float32"
    quantisation: Quantisation | None = None

    @model_validator(mode="after")
    def _axes_and_zero_point_can_be(self) -> Self:
        if any(axis != FREE and not 1 <= axis <= LARGEST_AXIS for axis in self.shape):
            raise ValueError(
                f"the shape of {self.name!r} is {self.shape}: each axis is from 1 to {LARGEST_AXIS}, or {FREE} where "
                f"it is free"
            )
        if self.quantisation is not None and self.dtype in RANGES:
            _check_levels(self.name, self.dtype, self.quantisation)
        return self


def check_real(tensor: TensorSpec, what: str) -> None:
    """Refuse an input that takes whole numbers where `what` makes measured ones.

    Raises:
        ValueError: The dtypes that are possible, and the one that is given.
    """
    if tensor.dtype not in REAL:
        raise ValueError(f"{what} goes into {_listed(REAL)}, the input {tensor.name!r} is {tensor.dtype}")


def check_size(what: str, axes: Sequence[int]) -> None:
    """Refuse a buffer of pre-processing that would fill a small device's memory.

    Raises:
        ValueError: The product of `axes` is more than `LARGEST_VALUES`.
    """
    values = 1
    for axis in axes:
        values *= axis
    if values > LARGEST_VALUES:
        shown = " x ".join(map(str, axes))
        raise ValueError(f"{what} of {shown} numbers are {values}: at most {LARGEST_VALUES} are kept in one buffer")


def _check_levels(name: str, dtype: DType, quantisation: Quantisation) -> None:
    if dtype not in REAL:
        raise ValueError(f"{dtype} is never quantised, {name!r} is given scale and zero point")
    least, largest = RANGES[dtype]
    if not least <= quantisation.zero_point <= largest:
        raise ValueError(f"the zero point of {name!r} is {quantisation.zero_point}: {dtype} has {least} to {largest}")


def _listed(words: Sequence[str]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}"
