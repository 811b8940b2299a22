"""Time series, rows of features, and tensors that need nothing but a cast."""

from typing import Literal, Self

from pydantic import Field, model_validator

from wire.base import Message
from wire.spec.base import TensorSpec
from wire.spec.normalise import NoNormalisation, Normalise, Robust, ZScore, check_numbers


class SeriesPre(Message):
    """A time series (channels, length): NaN rule, brought to `length`, differenced, normalised, cast, laid out.

    `nan`: `error` refuses; the others repair, before anything else: `zero`, `forward` (the last value before; at the
    beginning, where there is none, the first value that comes) and `interpolate` (a line between the neighbours; at
    an end, the neighbour's value). A channel without any value is refused. Infinite values always are.

    `resize`: `error` refuses another length, `linear` resamples to it, `stream` takes any number of new points into a
    ring of the last ones, and answers from when that is full. Missing values are repaired within the window, as if it
    had come as one query. Points that are refused (shape, infinite, or missing under `nan: error`) leave the ring as it
    was; a query of a whole window or more leaves nothing of what was there before.

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
        return self


class TablePre(Message):
    """A row of features: NaN rule, normalised, cast, quantised.

    `nan`: `mean` puts the training set's mean, or its median where `normalise` is `robust`; it needs training
    statistics that have one. `window` statistics are those of the row over its features.
    """

    kind: Literal["table"] = "table"
    features: int = Field(ge=1, le=100_000)
    nan: Literal["error", "zero", "mean"] = "error"
    normalise: Normalise = NoNormalisation()
    input: TensorSpec

    @model_validator(mode="after")
    def _statistics_stand_for_each_feature(self) -> Self:
        check_numbers(self.normalise, self.features, "features")
        trained = isinstance(self.normalise, ZScore | Robust) and self.normalise.statistics == "training"
        if self.nan == "mean" and not trained:
            raise ValueError("`nan: mean` needs training statistics with a mean or a median")
        return self


class TensorPre(Message):
    """The query is the model's input already, without its batch axis: cast and quantised, nothing else."""

    kind: Literal["tensor"] = "tensor"
    input: TensorSpec
