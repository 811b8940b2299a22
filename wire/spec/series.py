"""Time series, rows of features, and tensors that need nothing but a cast."""

from typing import Literal, Self

from pydantic import Field, model_validator

from wire.base import Message
from wire.spec.base import TensorSpec, check_real, check_size
from wire.spec.normalise import NoNormalisation, Normalise, Robust, ZScore, check_numbers


class SeriesPre(Message):
    """A time series (channels, length): NaN rule, brought to `length`, differenced, normalised, cast, laid out.

    `nan`: `error` refuses; the others repair, before anything else: `zero`, `forward` (the last value before; at the
    beginning, where there is none, the first value that comes) and `interpolate` (a line between the neighbours; at
    an end, the neighbour's value). A channel without any value is refused. Infinite values always are, and so are those
    beyond 1e100 (`LARGEST_NUMBER`), whose squares and differences float64 could not hold.

    `resize`: `error` refuses another length, `linear` resamples to it, `stream` takes any number of new points into a
    ring of the last ones, and answers from when that is full. Missing values are repaired within the window, as if it
    had come as one query. Points that are refused (shape, infinite or too large, or missing under `nan: error`) leave
    the ring as it was; a query of a whole window or more leaves nothing of what was there before.

    `difference` is the order of differencing: each one takes a point off the front, so that a query, a ring and a
    resampled series have `length + difference` points. `layout` is the model's: NCL or NLC.
    """

    kind: Literal["series"] = "series"
    channels: int = Field(ge=1, le=1024)
    length: int = Field(ge=1, le=1_000_000)
    resize: Literal["error", "linear", "stream"] = "error"
    nan: Literal["error", "zero", "forward", "interpolate"] = "error"
    difference: int = Field(default=0, ge=0, le=4)
    normalise: Normalise = NoNormalisation()
    layout: Literal["NCL", "NLC"] = "NCL"
    input: TensorSpec

    @model_validator(mode="after")
    def _statistics_stand_for_each_channel(self) -> Self:
        check_numbers(self.normalise, self.channels, "channels")
        check_real(self.input, "a series")
        kept = (self.length + self.difference) * (2 if self.resize == "stream" else 1)  # a ring holds each point twice
        check_size("channels and points", (self.channels, kept))
        return self


class TablePre(Message):
    """A row of features: NaN rule, normalised, cast, quantised.

    `nan`: `mean` puts the training set's mean, or its median where `normalise` is `robust`; it needs training
    statistics that have one. `window` statistics are those of the row over its features. Infinite values, and those
    beyond 1e100, are refused.
    """

    kind: Literal["table"] = "table"
    features: int = Field(ge=1, le=100_000)
    nan: Literal["error", "zero", "mean"] = "error"
    normalise: Normalise = NoNormalisation()
    input: TensorSpec

    @model_validator(mode="after")
    def _statistics_stand_for_each_feature(self) -> Self:
        check_numbers(self.normalise, self.features, "features")
        check_real(self.input, "a row of features")
        trained = isinstance(self.normalise, ZScore | Robust) and self.normalise.statistics == "training"
        if self.nan == "mean" and not trained:
            raise ValueError("`nan: mean` needs training statistics with a mean or a median")
        return self


class TensorPre(Message):
    """The query is the model's input already, without its batch axis: cast or quantised, nothing else.

    What a query means follows from its dtype. One of the input's own dtype goes in as it is, so that int8 into an int8
    input are levels that the model's scale and zero point stand behind. Of any other dtype it is real numbers: cast
    into a float input, quantised into an int8 or uint8 one. Into int32 and int64 go whole numbers of any dtype, floats
    too, as long as they lie within its range.
    """

    kind: Literal["tensor"] = "tensor"
    input: TensorSpec
