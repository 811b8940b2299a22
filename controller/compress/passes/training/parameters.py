"""Parameters of the passes that train, as recipes give them."""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Course(_Strict):
    """How long and how fast is trained: AdamW, whose rate rises over `warm_up` of all steps and falls as half a cosine.

    `steps`: of the optimiser. `batch`: samples a step. `rate`: the largest. `decay`: of weights. `average`: the
    moving average of weights per step, which is what is kept; 0 keeps the last. `augment`: change samples as their
    `augment` declares it. `samples`: at most.
    """

    steps: int = Field(default=2000, ge=1, le=10_000_000)
    batch: int = Field(default=64, ge=1, le=65_536)
    rate: float = Field(default=1e-3, gt=0, le=1)
    decay: float = Field(default=1e-4, ge=0, le=1)
    warm_up: float = Field(default=0.1, ge=0, le=1)
    average: float = Field(default=0.99, ge=0, lt=1)
    augment: bool = True
    samples: int | None = Field(default=None, ge=1)


class FineTune(Course):
    """Train on with the labels. `l1`: weight of the sum of absolute weights, which draws them towards zero."""

    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    l1: float = Field(default=0.0, ge=0, le=1)


class Distill(Course):
    """Train with the baseline as a teacher: alpha L_hard + (1 - alpha) T^2 KL(teacher || student).

    `alpha`: weight of the labels; 0 needs none. `temperature`: T. `features`: weight of the distance between features,
    through a projection that is learned and dropped. `views`: the teacher looks at so many changed copies of each
    sample once, and training goes over these; 0: at fresh ones in each step.
    """

    alpha: float = Field(default=0.1, ge=0, le=1)
    temperature: float = Field(default=4.0, gt=0, le=100)
    features: float = Field(default=0.0, ge=0, le=1000)
    views: int = Field(default=0, ge=0, le=1000)


class GradualPrune(Distill):
    """Zeros grow while the network is trained: by polynomial decay from `initial` to `final`.

    `begin`, `end`: shares of all steps. `frequency`: steps between two choices of masks. `importance`: of a weight, |w|
    or |w dL/dw|. `scope`: of each weight alike, or of all together.
    """

    initial: float = Field(default=0.0, ge=0, lt=1)
    final: float = Field(default=0.5, gt=0, lt=1)
    begin: float = Field(default=0.0, ge=0, lt=1)
    end: float = Field(default=0.6, gt=0, le=1)
    frequency: int = Field(default=10, ge=1)
    power: float = Field(default=3.0, gt=0, le=10)
    scope: Literal["layer", "global"] = "layer"
    importance: Literal["magnitude", "taylor"] = "magnitude"

    @model_validator(mode="after")
    def _order(self) -> Self:
        if self.begin >= self.end:
            raise ValueError(f"begin {self.begin} and end {self.end}: pruning ends after it begins")
        if self.initial > self.final:
            raise ValueError(f"initial {self.initial} and final {self.final}: zeros grow")
        return self


class QuantizeAware(Distill):
    """Train the quantised network on, rounding in each step: weights and scales learn what rounding loses.

    Follows `quantize_static`, and keeps its integers and scheme.
    """

    steps: int = Field(default=500, ge=1, le=10_000_000)
    rate: float = Field(default=2e-4, gt=0, le=1)
    average: float = Field(default=0.0, ge=0, lt=1)


class AdversarialTrain(Distill):
    """Train with inputs of which half were changed so that the network errs.

    `epsilon`: the largest change of a value, in the prepared input's unit. `attack_steps`: 1 is FGSM, more are PGD.
    """

    epsilon: float = Field(default=0.1, gt=0)
    attack_steps: int = Field(default=3, ge=1, le=100)
