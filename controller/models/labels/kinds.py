"""Kinds of models: what devices answer for each, and what judging one needs to be told.

Decides: the list, and that sequences, embeddings and anomalies are answered as numbers (`post.kind: regression`) and
judged here by metrics of their own. Leaves out: the metrics (`controller/compress/metrics`).
"""

from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from wire.spec import Kind

ModelKind = Literal[
    "classification", "regression", "detection", "segmentation", "sequence", "embedding", "anomaly"
]  # fmt: skip

ANSWERED_AS: Mapping[ModelKind, Kind] = {
    "classification": "classification",
    "regression": "regression",
    "detection": "detection",
    "segmentation": "segmentation",
    "sequence": "regression",
    "embedding": "regression",
    "anomaly": "regression",
}
"""Kind -> what a bundle says of itself, and what `post.kind` is."""

DEPLOYED: tuple[ModelKind, ...] = ("classification", "regression")
"""Kinds whose answers devices send back to be judged; the others are judged on this host alone."""

ARRAYS: Mapping[ModelKind, str] = {
    "classification": "labels",
    "regression": "labels",
    "detection": "boxes",
    "segmentation": "masks",
    "sequence": "tokens",
    "embedding": "labels",
    "anomaly": "labels",
}
"""Kind -> the array of an `.npz` that holds what is true, where `data.labels` does not name one that is there."""
CLASSES_OF_BOXES = "classes"
"""The second array of a detection's labels."""


class Judging(BaseModel):
    """What judging a kind needs to be told; all of it has a default."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    false_alarm_ratio: float = Field(default=0.05, gt=0, lt=1)
    """Anomaly: share of the normal calibration samples that raise an alarm; each variant's threshold follows."""
    decode: Literal["argmax", "ctc"] = "argmax"
    """Sequence: each position's best token, or the same with repeats merged and blanks dropped."""
    blank: int = Field(default=0, ge=0)
    """Sequence, `decode: ctc`: the token that stands for nothing."""
    end: int | None = Field(default=None, ge=0)
    """Sequence: the token behind which nothing counts."""
    word_separator: int | None = Field(default=None, ge=0)
    """Sequence: the token between words; with it the word error rate is reported too."""

    @model_validator(mode="after")
    def _tokens_differ(self) -> "Judging":
        special = [self.end, self.word_separator, *([self.blank] if self.decode == "ctc" else [])]
        named = [token for token in special if token is not None]
        if len(set(named)) != len(named):
            raise ValueError("judging: blank, end and word_separator are different tokens")
        return self

    def check_kind(self, kind: ModelKind) -> None:
        """Refuse what says nothing of models of this kind.

        Raises:
            ValueError: The key, and the kind that it belongs to.
        """
        for key in sorted(self.model_fields_set):
            owner = "anomaly" if key == "false_alarm_ratio" else "sequence"
            if kind != owner:
                raise ValueError(f"judging.{key} belongs to `kind: {owner}`, and this model's kind is {kind!r}")
