"""What training minimises: distance to labels, to a teacher's outputs, to a teacher's features, and the weights' size.

Decides: the formulas. Leaves out: where labels and teachers come from (`worker.py`).
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

LEAST_PROBABILITY = 1e-7


@dataclass(frozen=True)
class Objective:
    """What is learned.

    kind: `classification`, or another, whose outputs are numbers. probabilities: the network's outputs are those, not
    logits. alpha: weight of the labels against the teacher's outputs, 1 to 0. temperature: of both outputs, above 0.
    label_smoothing: share of a label that all classes get alike.
    """

    kind: str
    probabilities: bool = False
    alpha: float = 1.0
    temperature: float = 1.0
    label_smoothing: float = 0.0

    def hard(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean distance to the labels.

        Cross-entropy, with targets as probabilities of shape (n, classes); for numbers the mean square error.
        """
        if self.kind != "classification":
            return functional.mse_loss(outputs.reshape(targets.shape), targets)
        smooth = targets * (1 - self.label_smoothing) + self.label_smoothing / targets.shape[1]
        return -(smooth * torch.log_softmax(self.logits(outputs), dim=1)).sum(dim=1).mean()

    def soft(self, outputs: Tensor, teacher: Tensor) -> Tensor:
        """Return the mean distance to the teacher's outputs.

        T^2 KL(teacher || student) of the softmax at temperature T (Hinton et al. 2015, arXiv:1503.02531); for numbers
        the mean square error.
        """
        if self.kind != "classification":
            return functional.mse_loss(outputs, teacher)
        student = torch.log_softmax(self.logits(outputs) / self.temperature, dim=1)
        known = torch.log_softmax(self.logits(teacher) / self.temperature, dim=1)
        divergence = functional.kl_div(student, known, reduction="batchmean", log_target=True)
        return self.temperature**2 * divergence

    def loss(self, outputs: Tensor, targets: Tensor | None, teacher: Tensor | None) -> Tensor:
        """Return alpha L_hard + (1 - alpha) L_soft; what is not known does not count."""
        if targets is None and teacher is None:
            raise ValueError("neither labels nor a teacher: there is nothing to learn from")
        if teacher is None:
            return self.hard(outputs, targets)  # type: ignore[arg-type, unused-ignore]
        if targets is None or self.alpha == 0:
            return self.soft(outputs, teacher)
        return self.alpha * self.hard(outputs, targets) + (1 - self.alpha) * self.soft(outputs, teacher)

    def logits(self, outputs: Tensor) -> Tensor:
        return torch.log(outputs.clamp_min(LEAST_PROBABILITY)) if self.probabilities else outputs


def feature_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Return the mean square error of features of one shape, relative to the teacher's power.

    Source: Romero et al., *FitNets*, ICLR 2015; the projection that gives them one shape is the caller's.
    """
    return functional.mse_loss(student, teacher) / teacher.square().mean().clamp_min(LEAST_PROBABILITY)


def absolute_size(weights: Iterable[Tensor]) -> Tensor:
    """Return the sum of absolute values, which draws weights towards zero (Tibshirani 1996)."""
    total = torch.zeros(())
    for each in weights:
        total = total + each.abs().sum()
    return total
