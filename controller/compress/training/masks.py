"""Which weights stay zero while a network is trained.

Decides: when masks are chosen (`schedules.py`) and that what was zero at the beginning stays so. Leaves out: which
weights are least important (`weights/sparsify.py`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch

from controller.compress.training.network.graph import Network
from controller.compress.training.schedules import PolynomialDecay
from controller.compress.weights import sparsify

PRUNED = 0.05
"""A weight with a larger share of zeros was pruned: they stay zero."""


@dataclass(frozen=True)
class Sparsity:
    """How zeros come about. schedule: their ratio at each step. importance: of a weight; `taylor` is |w dL/dw|.

    Source: Zhu and Gupta 2017, arXiv:1710.01878 (magnitude); Molchanov et al., ICLR 2017 (Taylor).
    """

    schedule: PolynomialDecay
    scope: Literal["layer", "global"] = "layer"
    importance: Literal["magnitude", "taylor"] = "magnitude"

    @classmethod
    def of(cls, given: Mapping[str, Any], steps: int) -> "Sparsity":
        """Return what a recipe says; its `begin` and `end` are shares of all steps."""
        begin, end = round(given["begin"] * steps), max(round(given["end"] * steps), round(given["begin"] * steps) + 1)
        frequency = max(1, min(given["frequency"], end - begin))
        schedule = PolynomialDecay(begin, end, frequency, given["initial"], given["final"], given["power"])
        return cls(schedule, given["scope"], given["importance"])


@dataclass
class Masks:
    """Where weights stay zero, as 0 and 1."""

    kept: dict[str, torch.Tensor] = field(default_factory=dict)

    @classmethod
    def of_zeros(cls, network: Network) -> "Masks":
        """Return masks of the weights that were pruned before."""
        zeros = {name: each.detach() == 0 for name, each in network.matrices().items()}
        return cls({name: (~each).float() for name, each in zeros.items() if float(each.float().mean()) > PRUNED})

    def choose(self, network: Network, sparsity: Sparsity, step: int) -> None:
        """Choose anew, if it is time."""
        if not sparsity.schedule.chooses_at(step):
            return
        weights = network.matrices()
        scores = {name: _importance(each, sparsity.importance) for name, each in weights.items()}
        ratio = sparsity.schedule.sparsity(step)
        chosen = sparsify.masks({name: each.numpy() for name, each in scores.items()}, ratio, sparsity.scope)
        self.kept.update({name: torch.from_numpy(each).float() for name, each in chosen.items()})

    def apply(self, network: Network) -> None:
        """Set to zero what is to be zero."""
        weights = network.matrices()
        with torch.no_grad():
            for name, mask in self.kept.items():
                weights[name].mul_(mask)

    @property
    def zeros_ratio(self) -> float:
        """The share of zeros in the weights that have a mask; 0 without any."""
        total = sum(each.numel() for each in self.kept.values())
        return 1 - sum(float(each.sum()) for each in self.kept.values()) / total if total else 0.0


def _importance(weight: torch.Tensor, kind: str) -> torch.Tensor:
    if kind == "taylor" and weight.grad is not None:
        return (weight.detach() * weight.grad).abs()
    return weight.detach().abs()
