"""Pre- and post-processing as data: what a worker does around an inference, declared in the bundle.

Decides: the vocabulary and its defaults. Leaves out: how it is computed (`agent/inference/pipeline.py`).
A query is one sample: for `series` an array (channels, length), for `table` an array (features,).
"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from wire.base import Message

DType = Literal["float32", "float16", "int8", "uint8"]
Kind = Literal["classification", "regression"]


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


class ZScore(Message):
    """(x - mean) / max(deviation, epsilon) per channel.

    `window` statistics come from the query itself, `training` ones stand in `mean` and `deviation` (one per channel or
    feature).
    """

    method: Literal["z_score"] = "z_score"
    statistics: Literal["window", "training"] = "window"
    ddof: Literal[0, 1] = 0
    epsilon: float = Field(default=1e-8, gt=0)
    mean: tuple[float, ...] = Field(default=(), max_length=4096)
    deviation: tuple[float, ...] = Field(default=(), max_length=4096)

    @model_validator(mode="after")
    def _training_statistics_stand_here(self) -> Self:
        if self.statistics == "training" and not (self.mean and len(self.mean) == len(self.deviation)):
            raise ValueError("training statistics need mean and deviation of equal length")
        return self


class NoNormalisation(Message):
    """Values go in as they come."""

    method: Literal["none"] = "none"


Normalise = Annotated[ZScore | NoNormalisation, Field(discriminator="method")]


class SeriesPre(Message):
    """A time series (channels, length): brought to `length`, NaN rule, normalised, cast, laid out, quantised.

    `resize`: `error` refuses another length, `linear` resamples to it. `nan`: `error` refuses, `zero` and
    `interpolate` repair before anything else. `layout` is the model's: NCL or NLC.
    """

    kind: Literal["series"] = "series"
    channels: int = Field(ge=1, le=1024)
    length: int = Field(ge=1, le=1_000_000)
    resize: Literal["error", "linear"] = "error"
    nan: Literal["error", "zero", "interpolate"] = "error"
    normalise: Normalise = NoNormalisation()
    layout: Literal["NCL", "NLC"] = "NCL"
    input: TensorSpec


class TablePre(Message):
    """A row of features: NaN rule (`mean` puts the training mean), normalised, cast, quantised."""

    kind: Literal["table"] = "table"
    features: int = Field(ge=1, le=100_000)
    nan: Literal["error", "zero", "mean"] = "error"
    normalise: Normalise = NoNormalisation()
    input: TensorSpec


class TensorPre(Message):
    """The query is the model's input already, without its batch axis: cast and quantised, nothing else."""

    kind: Literal["tensor"] = "tensor"
    input: TensorSpec


PreSpec = Annotated[SeriesPre | TablePre | TensorPre, Field(discriminator="kind")]


class ClassificationPost(Message):
    """Scores -> the `top_k` classes with their probabilities."""

    kind: Literal["classification"] = "classification"
    activation: Literal["softmax", "sigmoid", "none"] = "softmax"
    top_k: int = Field(default=1, ge=1, le=1000)
    labels: tuple[str, ...] = Field(default=(), max_length=100_000)
    output: TensorSpec


class RegressionPost(Message):
    """Outputs -> values in the target's units: y = raw * scale + offset (one per output, or one for all)."""

    kind: Literal["regression"] = "regression"
    scale: tuple[float, ...] = Field(default=(1.0,), min_length=1, max_length=4096)
    offset: tuple[float, ...] = Field(default=(0.0,), min_length=1, max_length=4096)
    names: tuple[str, ...] = Field(default=(), max_length=4096)
    output: TensorSpec


PostSpec = Annotated[ClassificationPost | RegressionPost, Field(discriminator="kind")]


class Pipeline(Message):
    """Everything around one inference."""

    pre: PreSpec
    post: PostSpec
