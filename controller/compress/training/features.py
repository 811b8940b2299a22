"""A teacher's features: what stands on some of its wires, followed by the student's through a projection.

Decides: which wires, where none are named: the last ones that both graphs have, of the same places. Leaves out: the
distance (`losses.py`).

Source: Romero et al., *FitNets: Hints for Thin Deep Nets*, ICLR 2015.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from controller.compress.training.losses import feature_loss
from controller.compress.training.network.graph import Network
from controller.convert.workers.frame import Unusable

if TYPE_CHECKING:
    from controller.compress.training.loop import Lessons

MOST = 2
_OPERATORS = frozenset({"Relu", "Clip", "Add", "Conv", "Gemm", "HardSwish", "Gelu", "LeakyRelu"})


@dataclass
class Features:
    """Pairs of wires, the student's and the teacher's, each with a projection over the channels."""

    weight: float = 0.0
    pairs: Sequence[tuple[str, str]] = ()
    projections: Sequence[torch.nn.Linear] = field(default=())

    @property
    def student_names(self) -> list[str]:
        return [own for own, _ in self.pairs]

    @property
    def teacher_names(self) -> list[str]:
        return [other for _, other in self.pairs]

    def parameters(self) -> Iterator[Tensor]:
        for each in self.projections:
            yield from each.parameters()

    def loss(self, student: Mapping[str, Tensor], teacher: Mapping[str, Tensor]) -> Tensor:
        """Return the weighted mean distance over the pairs; 0 without any."""
        if not self.pairs:
            return torch.zeros(())
        found = [
            feature_loss(projection(student[own].movedim(1, -1)), teacher[other].movedim(1, -1))
            for (own, other), projection in zip(self.pairs, self.projections, strict=True)
        ]
        return self.weight * torch.stack(found).mean()

    @classmethod
    def of(cls, student: Network, lessons: Lessons, weight: float) -> Features:
        """Return the last pairs of wires that fit.

        Raises:
            Unusable: There are none, or there is no teacher.
        """
        if not weight:
            return cls()
        teacher = lessons.teacher
        if teacher is None:
            raise Unusable("features are a teacher's, and there is none")
        x = torch.from_numpy(np.ascontiguousarray(lessons.inputs[:2]))
        own, other = _shapes(student, x), _shapes(teacher, x)
        pairs = _pairs(own, other)
        if not pairs:
            raise Unusable("the student has no features of the teacher's places: set features to 0")
        linear = [torch.nn.Linear(own[a][1], other[b][1]) for a, b in pairs]
        return cls(weight, pairs, linear)


def _shapes(network: Network, x: Tensor) -> dict[str, tuple[int, ...]]:
    names = [step.made[0] for step in network.steps if step.kind in _OPERATORS and step.made[0] not in network.outputs]
    with torch.no_grad():
        return {name: tuple(each.shape) for name, each in network.values(x, names).items()}


def _pairs(own: Mapping[str, tuple[int, ...]], other: Mapping[str, tuple[int, ...]]) -> list[tuple[str, str]]:
    """Return the last wires of each place (all axes but the channels') that both have, at most `MOST`."""
    last = {shape[2:]: name for name, shape in own.items()}
    taught = {shape[2:]: name for name, shape in other.items()}
    return [(name, taught[place]) for place, name in last.items() if place in taught][-MOST:]
