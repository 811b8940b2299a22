"""Distillation: train a smaller network to answer as the baseline does, with labels or without.

L = alpha L_hard + (1 - alpha) T^2 KL(teacher || student), Hinton et al. 2015, arXiv:1503.02531; features as in Romero
et al., *FitNets*, ICLR 2015. A network that was pruned or quantised from the baseline is taught by what it was.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from controller.compress.passes.base import Artifact, Capabilities, CompressionPass, PassContext, needs_float
from controller.compress.passes.training.trained import NEEDS, trained

VIEWS = 32
"""In a search: asking the teacher in each step costs most students more than all else."""


class DistillPass:
    """The baseline teaches; labels count as `alpha` says."""

    name = "distill"
    needs = NEEDS

    def applies(self, capabilities: Capabilities, artifact: Artifact) -> str | None:
        return needs_float(self.name, "onnx", capabilities, artifact)

    def space(self, _capabilities: Capabilities) -> Mapping[str, Sequence[Any]]:
        return {
            "steps": (500, 1000, 2000, 4000, 8000), "rate": (2e-3, 5e-3, 1e-2), "alpha": (0.0, 0.1, 0.5),
            "temperature": (2.0, 4.0, 8.0), "views": (VIEWS,), "features": (0.0,),
        }  # fmt: skip

    def run(self, artifact: Artifact, parameters: Mapping[str, Any], context: PassContext) -> Artifact:
        return trained(artifact, parameters, context, {})


PASS: CompressionPass = DistillPass()
