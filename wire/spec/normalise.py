"""How values are brought to the scale that a model was trained on.

`window` statistics come from the query itself, `training` ones stand in the specification, one per channel or feature.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from wire.base import Message
from wire.spec.base import LARGEST_SINGLE, Between

Statistics = Literal["window", "training"]

LARGEST_NUMBER = 1e100
"""Beyond it neither a value of a series or a row is taken nor a number of the training set: differences, sums of a
million squares, and quotients by `LEAST_DIVISOR` of what is within stay far inside float64's range."""
LEAST_DIVISOR = 1e-100

Number = Annotated[float, Between(-LARGEST_NUMBER, LARGEST_NUMBER)]
Spread = Annotated[float, Between(0, LARGEST_NUMBER)]
"""A deviation or a range; 0 where a channel never changed, since `epsilon` is then divided by."""
Numbers = Annotated[tuple[Number, ...], Field(max_length=4096)]
Spreads = Annotated[tuple[Spread, ...], Field(max_length=4096)]
Divisor = Annotated[float, Between(LEAST_DIVISOR, LARGEST_NUMBER)]
Level = Annotated[float, Between(-LARGEST_SINGLE, LARGEST_SINGLE)]


class ZScore(Message, allow_inf_nan=False):
    """(x - mean) / max(deviation, epsilon) per channel."""

    method: Literal["z_score"] = "z_score"
    statistics: Statistics = "window"
    ddof: Literal[0, 1] = 0
    epsilon: Divisor = 1e-8
    mean: Numbers = ()
    deviation: Spreads = ()

    @model_validator(mode="after")
    def _training_statistics_stand_here(self) -> Self:
        if self.statistics == "training" and not (self.mean and len(self.mean) == len(self.deviation)):
            raise ValueError("training statistics need mean and deviation of equal length")
        return self


class MinMax(Message, allow_inf_nan=False):
    """(x - minimum) / max(maximum - minimum, epsilon) per channel, then onto [low, high]."""

    method: Literal["min_max"] = "min_max"
    statistics: Statistics = "window"
    low: Level = 0.0
    high: Level = 1.0
    epsilon: Divisor = 1e-8
    minimum: Numbers = ()
    maximum: Numbers = ()

    @model_validator(mode="after")
    def _bounds_make_sense(self) -> Self:
        if self.low >= self.high:
            raise ValueError(f"low ({self.low}) must be less than high ({self.high})")
        if self.statistics == "training" and not (self.minimum and len(self.minimum) == len(self.maximum)):
            raise ValueError("training statistics need minimum and maximum of equal length")
        for place, (least, most) in enumerate(zip(self.minimum, self.maximum, strict=False)):
            if least > most:
                raise ValueError(f"minimum[{place}] is {least}, maximum[{place}] is {most}: it must not be less")
        return self


class Robust(Message, allow_inf_nan=False):
    """(x - median) / max(interquartile range, epsilon) per channel; quartiles by linear interpolation."""

    method: Literal["robust"] = "robust"
    statistics: Statistics = "window"
    epsilon: Divisor = 1e-8
    median: Numbers = ()
    interquartile_range: Spreads = ()

    @model_validator(mode="after")
    def _training_statistics_stand_here(self) -> Self:
        if self.statistics == "training" and not (self.median and len(self.median) == len(self.interquartile_range)):
            raise ValueError("training statistics need median and interquartile_range of equal length")
        return self


class NoNormalisation(Message):
    """Values go in as they come."""

    method: Literal["none"] = "none"


Normalise = Annotated[ZScore | MinMax | Robust | NoNormalisation, Field(discriminator="method")]


def check_numbers(rule: Normalise, channels: int, word: str) -> None:
    """Refuse training statistics that do not stand for each of `channels`.

    Raises:
        ValueError: Another number of them; `word` says in the text what there is one of for each.
    """
    if isinstance(rule, NoNormalisation) or rule.statistics != "training":
        return
    given = {ZScore: "mean", MinMax: "minimum", Robust: "median"}[type(rule)]
    count = len(getattr(rule, given))
    if count != channels:
        raise ValueError(f"training statistics of {count} {word} where there are {channels}: {given} has one for each")
