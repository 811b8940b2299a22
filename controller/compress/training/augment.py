"""Samples changed in ways that do not change what is true of them, as declared with the data.

Decides: what each change does to prepared inputs, shape (n, channels, ...). Leaves out: which are allowed for some data
(`data.augment` of model.yaml).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from controller.convert.workers.frame import Unusable


@dataclass(frozen=True)
class Augment:
    """Changes; none is made by default.

    roll: turned around along the last axis by any number of places (closed outlines). flip: the last axis reversed, in
    half of the samples. crop: moved by up to so many places along each axis after the channels, edges repeated. noise:
    standard deviation of what is added, in the inputs' unit. mixup: alpha of the Beta distribution of the ratio in
    which two samples are mixed (Zhang et al., ICLR 2018), 0 for none.
    """

    roll: bool = False
    flip: bool = False
    crop: int = 0
    noise: float = 0.0
    mixup: float = 0.0

    @classmethod
    def of(cls, given: Mapping[str, Any] | None) -> "Augment":
        return cls(**(given or {}))

    def check(self, shape: tuple[int, ...]) -> None:
        """Refuse changes that samples of this shape do not have.

        Raises:
            Unusable: Names what is left.
        """
        if len(shape) < 2 and (self.roll or self.flip or self.crop):
            raise Unusable(f"samples of shape {shape} have no axis to roll, flip or crop; noise and mixup are left")

    def changed(self, x: Tensor, random: torch.Generator) -> Tensor:
        """Return the samples, each changed by chance."""
        if self.roll:
            x = rolled(x, torch.randint(x.shape[-1], (len(x),), generator=random))
        if self.flip:
            turned = torch.rand(len(x), generator=random) < 0.5
            x = torch.where(turned.reshape(-1, *[1] * (x.dim() - 1)), x.flip(-1), x)
        if self.crop:
            x = moved(x, torch.randint(2 * self.crop + 1, (x.dim() - 2,), generator=random).tolist(), self.crop)
        return x + self.noise * torch.randn(x.shape, generator=random) if self.noise else x

    def mixed(self, x: Tensor, targets: Tensor | None, random: torch.Generator) -> tuple[Tensor, Tensor | None]:
        """Return samples and targets mixed with those of others."""
        if not self.mixup:
            return x, targets
        ratio = _beta(self.mixup, random)
        order = torch.randperm(len(x), generator=random)
        other = None if targets is None else ratio * targets + (1 - ratio) * targets[order]
        return ratio * x + (1 - ratio) * x[order], other


def rolled(x: Tensor, places: Tensor) -> Tensor:
    """Return each sample turned around along its last axis by its own number of places."""
    index = (torch.arange(x.shape[-1]) + places.reshape(-1, 1)) % x.shape[-1]
    return x.gather(-1, index.reshape(len(x), *[1] * (x.dim() - 2), -1).expand(x.shape))


def moved(x: Tensor, places: list[int], at_most: int) -> Tensor:
    """Return the samples cut out `places` from the beginning of what has `at_most` more on each side."""
    wide = functional.pad(x, [at_most, at_most] * (x.dim() - 2), mode="replicate")
    for axis, place in enumerate(places):
        wide = wide.narrow(2 + axis, place, x.shape[2 + axis])
    return wide


def _beta(alpha: float, random: torch.Generator) -> float:
    """Return a number from Beta(alpha, alpha), by two gamma variates from their own generator."""
    first, second = (float(torch._standard_gamma(torch.tensor(alpha), generator=random)) for _ in range(2))
    return first / (first + second) if first + second > 0 else 0.5
