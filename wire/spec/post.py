"""What is made of a model's outputs."""

from typing import Literal, Self

from pydantic import Field, model_validator

from wire.base import Message
from wire.spec.base import TensorSpec


class ClassificationPost(Message, allow_inf_nan=False):
    """Scores -> the `top_k` classes with their probabilities; with a `threshold`, those that reach it, maybe none.

    Classes are ordered by their raw scores: of equal ones the lower class is first, NaN counts as lowest. A probability
    that is not finite reaches no threshold.
    """

    kind: Literal["classification"] = "classification"
    activation: Literal["softmax", "sigmoid", "none"] = "softmax"
    top_k: int = Field(default=1, ge=1, le=1000)
    threshold: float | None = None
    labels: tuple[str, ...] = Field(default=(), max_length=100_000)
    output: TensorSpec


class RegressionPost(Message, allow_inf_nan=False):
    """Outputs -> values in the target's units: y = raw * scale + offset (one per output, or one for all)."""

    kind: Literal["regression"] = "regression"
    scale: tuple[float, ...] = Field(default=(1.0,), min_length=1, max_length=4096)
    offset: tuple[float, ...] = Field(default=(0.0,), min_length=1, max_length=4096)
    names: tuple[str, ...] = Field(default=(), max_length=4096)
    output: TensorSpec


class DetectionPost(Message, allow_inf_nan=False):
    """Outputs -> boxes (left, top, right, bottom) in the query's own pixels, each with a class and a score.

    `head`: `yolo` reads one output (1, 4 + classes, anchors) or its transpose (`anchors_first`), with centre, width and
    height in pixels of the input, and an objectness before the classes where `objectness` says so; `ssd` reads offsets
    (1, anchors, 4) in `output` and scores (1, anchors, classes) in `scores`, decoded with `anchors_file` (an .npy of
    the bundle, shape (anchors, 4): centre y, centre x, height, width, from 0 to 1) and `variances`; `boxes` reads boxes
    (1, n, 4) as left, top, right, bottom, and scores (1, n, classes).

    Suppression is per class unless `class_agnostic`: a box goes where its overlap (intersection over union) with a
    better one is greater than `iou_threshold`; of equal scores the earlier is better. Boxes are then brought back
    through what pre-processing did to the picture and cut at its edges; one that lies outside altogether is dropped.
    Where the query is no picture they stay as the model gives them.

    A candidate's score is greater than `score_threshold`; NaN counts as the lowest score. A score, corner or side
    that is not finite, or a negative side, makes no box: outputs that are all NaN are an answer without boxes.
    """

    kind: Literal["detection"] = "detection"
    head: Literal["yolo", "ssd", "boxes"] = "yolo"
    activation: Literal["softmax", "sigmoid", "none"] = "none"
    anchors_first: bool = False
    objectness: bool = False
    background: bool = False
    """Class 0 is the background, and is dropped; the others keep their numbers, and `labels` begins with its name."""
    multi_label: bool = False
    """Each class above the threshold makes a box; else an anchor's best class alone does."""
    normalised: bool = False
    """Boxes of the heads yolo and boxes run from 0 to 1; those of ssd always do."""
    order: Literal["xy", "yx"] | None = None
    """Whether horizontal or vertical values stand first, in anchors and variances too. Null: as said above."""
    anchors_file: str | None = Field(default=None, max_length=200)
    variances: tuple[float, float, float, float] = (0.1, 0.1, 0.2, 0.2)
    score_threshold: float = Field(default=0.25, ge=0, le=1)
    iou_threshold: float = Field(default=0.45, ge=0, le=1)
    most_candidates: int = Field(default=1000, ge=1, le=100_000)
    """The best ones, before suppression."""
    most: int = Field(default=100, ge=1, le=10_000)
    class_agnostic: bool = False
    labels: tuple[str, ...] = Field(default=(), max_length=100_000)
    output: TensorSpec
    scores: TensorSpec | None = None

    @model_validator(mode="after")
    def _heads_have_their_outputs(self) -> Self:
        if (self.scores is None) != (self.head == "yolo"):
            raise ValueError("`scores` names the second output of the heads ssd and boxes, and no other")
        if (self.anchors_file is None) != (self.head != "ssd"):
            raise ValueError("`anchors_file` belongs to the head ssd, which needs it")
        if self.objectness and (self.head != "yolo" or self.activation == "softmax"):
            raise ValueError("`objectness` belongs to the head yolo with the activation none or sigmoid")
        if self.anchors_first and self.head != "yolo":
            raise ValueError("`anchors_first` belongs to the head yolo; the others always are so")
        return self


class SegmentationPost(Message):
    """Scores per pixel -> a map of class numbers, and each class's share of the pixels.

    `layout` is the output's: NCHW or NHWC, with 2 to 256 classes. `resize`: `query` brings the map to the query's own
    size (nearest), which must be a picture; `none` leaves it at the output's. Of equal scores the lower class is taken,
    NaN counts as the lowest score, and a pixel with nothing above -infinity is of class 0.
    """

    kind: Literal["segmentation"] = "segmentation"
    layout: Literal["NCHW", "NHWC"] = "NCHW"
    resize: Literal["none", "query"] = "none"
    labels: tuple[str, ...] = Field(default=(), max_length=256)
    output: TensorSpec
