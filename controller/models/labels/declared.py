"""What `model.yaml` says of samples: where they are, which of them are for what, and how they may be changed."""

from pydantic import BaseModel, ConfigDict, Field


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Augmentation(_Strict):
    """Changes of a sample that do not change what is true of it; training makes them, each by chance.

    `roll`: turned around along the last axis by any number of places, as closed outlines may be. `flip`: the last axis
    reversed. `crop`: moved by up to so many places along each axis. `noise`: standard deviation of what is added to the
    prepared input. `mixup`: alpha of the ratio in which two samples are mixed.
    """

    roll: bool = False
    flip: bool = False
    crop: int = Field(default=0, ge=0, le=1024)
    noise: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    mixup: float = Field(default=0.0, ge=0, le=100)


class FactorySamples(_Strict):
    """Samples from a function in the folder: `FILE:FUNCTION`, called with the split's name.

    `training`: the split that passes train on, where it is another than the one that calibrates (`train`).
    """

    factory: str = Field(pattern=r"^[\w./-]+\.py:\w+$")
    train: str = "train"
    training: str | None = None
    test: str = "test"
    golden: str | None = Field(default=None, pattern=r"^[\w./-]+\.py:\w+$")
    augment: Augmentation | None = None


class NpzSamples(_Strict):
    """Samples from an `.npz` in the folder.

    Without train arrays, a fixed part of the samples is kept for calibration.
    """

    npz: str
    inputs: str = "inputs"
    labels: str = "labels"
    train_inputs: str | None = None
    train_labels: str | None = None
    calibration_ratio: float = Field(default=0.2, gt=0, lt=1)
    seed: int = Field(default=0, ge=0)
    augment: Augmentation | None = None
