"""How long and how fast a network is trained. Pure; the standard library alone."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True)
class Settings:
    """steps: of the optimiser. batch: samples a step. rate: the largest learning rate, of AdamW. decay: of
    weights with two axes or more. warm_up: share of all steps in which the rate rises; then it falls as half a cosine.
    average: of the moving average of weights, per step, which is what is kept; 0 keeps the last. l1: weight of the sum
    of absolute weights. features: weight of the teacher's features, 0 for none. clip: of the gradient's norm.

    Source: Loshchilov and Hutter, ICLR 2019 (AdamW) and ICLR 2017 (cosine).
    """

    steps: int
    batch: int = 64
    rate: float = 1e-3
    decay: float = 1e-4
    warm_up: float = 0.1
    average: float = 0.0
    l1: float = 0.0
    features: float = 0.0
    clip: float = 5.0

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> "Settings":
        """Return those among a recipe's parameters."""
        return cls(**{each.name: given[each.name] for each in fields(cls) if each.name in given})

    def rate_at(self, step: int) -> float:
        """Return the learning rate of a step."""
        rise = max(1, round(self.warm_up * self.steps))
        if step < rise:
            return self.rate * (step + 1) / rise
        return self.rate * 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, self.steps - rise)))
