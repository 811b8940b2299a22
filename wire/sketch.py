"""Sketches on the wire: counts in buckets, checked as they come in.

Decides: the messages, and that a bucket stands for a number. Leaves out: counting and quantiles (`wire/quantiles.py`,
`wire/signed.py`, which know no pydantic).

>>> sketch = Sketch(); sketch.add(3.0); sketch.add(5.0); round(sketch.quantile(1.0), 1)
5.0
"""

import math
from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    Field,
    SerializerFunctionWrapHandler,
    StringConstraints,
    model_serializer,
    model_validator,
)

from wire.base import Message
from wire.buckets import LARGEST_VALUE, RELATIVE_ERROR_RATIO, SMALLEST_VALUE, log_gamma, unpack
from wire.quantiles import MOST_BUCKETS, QuantileSketch
from wire.signed import unpacked

__all__ = ["MOST_BUCKETS", "RELATIVE_ERROR_RATIO", "SMALLEST_VALUE", "PackedSketch", "Sketch", "SketchData"]

BucketIndex = Annotated[str, StringConstraints(pattern=r"^(0|-?[1-9][0-9]{0,8})$")]
Packed = Annotated[str, StringConstraints(max_length=65_536)]
"""Buckets as `wire.buckets.pack` writes them."""


def _is_a_sketch(text: str) -> str:
    unpacked(text)
    return text


PackedSketch = Annotated[str, StringConstraints(max_length=65_536), AfterValidator(_is_a_sketch)]
"""A signed sketch, as `wire.signed` packs it."""
Halvings = Annotated[int, Field(ge=0, le=64)]
_LARGEST_LOG = math.log(LARGEST_VALUE)


class SketchData(Message):
    """A sketch on the wire. `buckets` maps the bucket's index (as text) to its count; `packed` says the same in less.

    Where both are given `packed` stands. `collapsed`: how often the resolution was halved, beginning with buckets of
    `relative_error_ratio`; only packed buckets are. What was not given is not sent.
    """

    relative_error_ratio: float = Field(default=RELATIVE_ERROR_RATIO, gt=0, lt=1)
    collapsed: Halvings = 0
    zeros: int = Field(default=0, ge=0)
    buckets: dict[BucketIndex, Annotated[int, Field(ge=1)]] = Field(default_factory=dict, max_length=4096)
    packed: Packed = ""
    minimum: float | None = None
    maximum: float | None = None
    total: float = 0.0

    @model_validator(mode="after")
    def _buckets_stand_for_numbers(self) -> Self:
        widest = _LARGEST_LOG / self.log_gamma + 1
        if any(abs(index) > widest for index in self.counts()):
            raise ValueError(f"a bucket beyond {widest:.0f} stands for no number")
        return self

    @model_serializer(mode="wrap")
    def _only_given(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return only_given(self, dump)

    @property
    def count(self) -> int:
        return self.zeros + sum(self.counts().values())

    @property
    def log_gamma(self) -> float:
        """Logarithm of a bucket's upper bound over its lower one: bucket i holds (gamma^(i-1), gamma^i]."""
        return log_gamma(self.relative_error_ratio, self.collapsed)

    def counts(self) -> Mapping[int, int]:
        """Return bucket index -> count, zeros left out."""
        return unpack(self.packed) if self.packed else {int(index): count for index, count in self.buckets.items()}


class Sketch(QuantileSketch):
    """A quantile sketch that knows its message."""

    def data(self, most_buckets: int | None = None) -> SketchData:
        """Return the sketch as it crosses the wire, with at most so many buckets (null: all that there are)."""
        return SketchData.model_validate(self.fields(most_buckets))


def only_given(message: Message, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
    """Return the fields that `message` was made with: defaults cost bytes and say nothing."""
    fields: dict[str, Any] = dump(message)
    return {name: value for name, value in fields.items() if name in message.model_fields_set}
