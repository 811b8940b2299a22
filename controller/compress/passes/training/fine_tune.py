"""Fine-tuning: train a float network on with its labels, so that what a pass took from it comes back.

Weights that were pruned stay zero. With `l1` the sum of absolute weights counts (Tibshirani 1996), so that more of them
come near to zero.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from controller.compress.passes.base import Artifact, Capabilities, CompressionPass, PassContext, needs_float
from controller.compress.passes.training.trained import NEEDS, trained


class FineTunePass:
    """Labels alone."""

    name = "fine_tune"
    needs = NEEDS

    def applies(self, capabilities: Capabilities, artifact: Artifact) -> str | None:
        return needs_float(self.name, "onnx", capabilities, artifact)

    def space(self, _capabilities: Capabilities) -> Mapping[str, Sequence[Any]]:
        return {
            "steps": (500, 1000, 2000, 4000),
            "rate": (3e-4, 1e-3, 3e-3),
            "label_smoothing": (0.0, 0.1),
            "l1": (0.0, 1e-6, 1e-5),
        }

    def run(self, artifact: Artifact, parameters: Mapping[str, Any], context: PassContext) -> Artifact:
        return trained(artifact, parameters, context, {})


PASS: CompressionPass = FineTunePass()
