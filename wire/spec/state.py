"""State that a model takes and gives: what an output holds after one query goes into an input for the next."""

from pydantic import model_validator

from wire.base import Message
from wire.spec.base import TensorSpec


class StateTensor(Message):
    """An output that the worker hands back to an input. A stream begins with zeros; a free axis is the batch, 1."""

    input: TensorSpec
    output: TensorSpec

    @model_validator(mode="after")
    def _fits_itself(self) -> "StateTensor":
        one, other = self.input, self.output
        if one.dtype != other.dtype or len(one.shape) != len(other.shape):
            raise ValueError(
                f"state goes from {other.name!r} into {one.name!r}: {other.dtype} of shape {other.shape} into "
                f"{one.dtype} of shape {one.shape}"
            )
        if one.quantisation != other.quantisation:
            raise ValueError(f"state {other.name!r} and {one.name!r} are quantised differently")
        return self
