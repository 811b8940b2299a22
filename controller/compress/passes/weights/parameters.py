"""Parameters of the passes on weights, as recipes give them."""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Prune(_Strict):
    """Set the smallest weights to zero. No engine skips them; the download shrinks.

    `amount`: share that becomes zero. `scope`: of each weight alike, or of all together. `pattern`: instead, so many of
    every so many that follow each other.
    """

    amount: float = Field(default=0.5, ge=0, lt=1)
    scope: Literal["layer", "global"] = "layer"
    pattern: Literal["2:4", "1:4", "4:8"] | None = None

    @model_validator(mode="after")
    def _pattern_says_how_many(self) -> Self:
        if self.pattern is not None and self.model_fields_set & {"amount", "scope"}:
            raise ValueError(f"pattern {self.pattern} says how many weights stay: leave amount and scope out")
        return self


class PruneChannels(_Strict):
    """Take the least important channels out of the network, and everything that goes with them.

    `amount`: share of each width, or of all channels together (`scope: global`). `round_to`: what stays of a width is a
    multiple of it. `norm`: of the weights by which a channel is judged, 1 or 2. Few channels go without training.
    """

    amount: float = Field(default=0.1, ge=0, lt=1)
    round_to: int = Field(default=8, ge=1, le=256)
    scope: Literal["layer", "global"] = "layer"
    norm: Literal[1, 2] = 2


class LowRank(_Strict):
    """Smaller factors in place of weights. `energy`: share of the squared singular values that stays."""

    energy: float = Field(default=0.95, gt=0, lt=1)


class Equalise(_Strict):
    """The same function with channels of equal ranges, before weights are quantised."""


class Codebook(_Strict):
    """Each weight becomes the nearest of at most 2**`bits` levels; computed in float32 as before."""

    bits: int = Field(default=4, ge=1, le=8)
    levels: Literal["kmeans", "power_of_two", "mu_law"] = "kmeans"
