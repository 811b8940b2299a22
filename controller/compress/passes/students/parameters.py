"""Parameters of the passes that make students, as recipes give them."""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Student(BaseModel):
    """A network of your own in place of the model's; a training pass comes next.

    `factory`: `FILE.py:FUNCTION` in the model's folder, which gives a `torch.nn.Module`. `state`: weights to begin
    with, a file in the folder; without, the module's own.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    factory: str = Field(pattern=r"^[\w./-]+\.py:\w+$")
    state: str | None = Field(default=None, pattern=r"^[\w./-]+\.(safetensors|pt|pth)$")


class Derive(BaseModel):
    """Make a smaller network of the model's own graph; a training pass comes next.

    `width`: share of each width that stays, in multiples of `round_to`. `separable`: dense convolutions become
    depthwise and pointwise ones. `pools: strides`: pools become strides of the convolutions before them.
    `early_stride`: so many times fewer places from the stem on, by longer strides of the stem or by averages of the
    input (`stride_at`); `later_strides: reduced` takes them back later. `stages: strided`: half of the places behind
    each block that has a convolution as its shortcut and no stride yet. `depth`: share of the repeated residual blocks
    that stays. `planar`: convolutions along one axis become ones over rows, for which engines have faster kernels.
    `normalise`: batch normalisation behind convolutions that have none. `weights`: drawn anew, or what is left of the
    model's.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    width: float = Field(default=1.0, ge=0.125, le=1)
    round_to: int = Field(default=8, ge=1, le=256)
    separable: bool = False
    pools: Literal["kept", "strides"] = "kept"
    early_stride: Literal[1, 2, 4, 8] = 1
    stride_at: Literal["stem", "input"] = "stem"
    later_strides: Literal["kept", "reduced"] = "kept"
    stages: Literal["kept", "strided"] = "kept"
    depth: float = Field(default=1.0, ge=0, le=1)
    planar: bool = False
    normalise: bool = True
    weights: Literal["fresh", "inherited"] = "fresh"

    @model_validator(mode="after")
    def _something_is_asked_for(self) -> Self:
        given = self.model_fields_set
        if not given & {"width", "separable", "pools", "early_stride", "stages", "depth"}:
            raise ValueError(
                "derive: nothing gets smaller: give width, separable, pools, early_stride, stages or depth"
            )
        for needed, names in (("early_stride", {"stride_at", "later_strides"}), ("width", {"round_to"})):
            if given & names and needed not in given:
                raise ValueError(f"derive: {', '.join(sorted(given & names))} means nothing without {needed}")
        return self
