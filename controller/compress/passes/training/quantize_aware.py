"""Quantisation-aware training: the quantised network itself is trained, rounding in each step.

Gradients pass the rounding as if it were not there (Bengio et al. 2013); weights and the scales of weights and
activations learn (Esser et al., *Learned Step Size Quantization*, ICLR 2020; by their logarithms, as in Jain et al.,
*Trained Quantization Thresholds*, MLSys 2020). Zero points stay. The baseline teaches (`distill`).
"""

from collections.abc import Mapping, Sequence
from typing import Any

from controller.compress.passes.base import Artifact, Capabilities, CompressionPass, PassContext
from controller.compress.passes.training.distill import VIEWS
from controller.compress.passes.training.trained import NEEDS, trained


class QuantizeAwarePass:
    """From a QDQ graph to the same graph with other numbers."""

    name = "quantize_aware"
    needs = NEEDS

    def applies(self, _capabilities: Capabilities, artifact: Artifact) -> str | None:
        if artifact.format == "onnx" and artifact.precision == "int8":
            return None
        given = f"{artifact.precision} {artifact.format}"
        return f"{self.name} trains what quantize_static has quantised, and this file is {given}"

    def space(self, _capabilities: Capabilities) -> Mapping[str, Sequence[Any]]:
        return {
            "steps": (250, 500, 1000), "rate": (5e-5, 2e-4, 1e-3), "alpha": (0.0, 0.1, 0.5), "views": (VIEWS,),
            "features": (0.0,),
        }  # fmt: skip

    def run(self, artifact: Artifact, parameters: Mapping[str, Any], context: PassContext) -> Artifact:
        return trained(artifact, parameters, context, {})


PASS: CompressionPass = QuantizeAwarePass()
