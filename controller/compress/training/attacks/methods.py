"""Inputs changed as little as can be so that a network errs: FGSM and PGD, within a distance in each value.

Decides: the two attacks. Leaves out: what a network is worth under them. Gradients go through the very graph that is
judged, quantised ones too, where they pass the rounding.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Loss = Callable[[Tensor], Tensor]
"""Inputs -> the loss that an attack makes larger; one number for all samples."""


@dataclass(frozen=True)
class Attack:
    """epsilon: the largest change of a value, in the inputs' unit. steps: 1 is FGSM, more are PGD. low, high: what
    inputs can be. A PGD step goes 2.5 epsilon / steps far and begins somewhere within epsilon.

    Source: Goodfellow et al., ICLR 2015 (FGSM); Madry et al., ICLR 2018 (PGD).
    """

    epsilon: float
    steps: int = 1
    low: float = float("-inf")
    high: float = float("inf")

    def on(self, x: Tensor, loss: Loss, random: torch.Generator) -> Tensor:
        """Return the changed inputs."""
        length = self.epsilon if self.steps == 1 else 2.5 * self.epsilon / self.steps
        changed = x.clone()
        if self.steps > 1:
            changed = self._within(x, x + self.epsilon * (2 * torch.rand(x.shape, generator=random) - 1))
        for _ in range(self.steps):
            changed = changed.detach().requires_grad_()
            (slope,) = torch.autograd.grad(loss(changed), changed)
            changed = self._within(x, changed.detach() + length * slope.sign())
        return changed.detach()

    def _within(self, x: Tensor, changed: Tensor) -> Tensor:
        near = torch.maximum(torch.minimum(changed, x + self.epsilon), x - self.epsilon)
        return near.clamp(self.low, self.high)
