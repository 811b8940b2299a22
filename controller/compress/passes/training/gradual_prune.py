"""Unstructured pruning while training: zeros grow by polynomial decay, and the rest learns to do without.

Zhu and Gupta 2017, arXiv:1710.01878. The baseline teaches (`distill`). For transport: no engine here skips zeros.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from controller.compress.passes.base import Artifact, Capabilities, CompressionPass, PassContext, needs_float
from controller.compress.passes.training.trained import NEEDS, trained


class GradualPrunePass:
    """Masks are chosen anew every few steps."""

    name = "gradual_prune"
    needs = NEEDS

    def applies(self, capabilities: Capabilities, artifact: Artifact) -> str | None:
        return needs_float(self.name, "onnx", capabilities, artifact)

    def space(self, _capabilities: Capabilities) -> Mapping[str, Sequence[Any]]:
        return {"final": (0.5, 0.7, 0.8, 0.9), "scope": ("layer", "global"), "importance": ("magnitude", "taylor")}

    def run(self, artifact: Artifact, parameters: Mapping[str, Any], context: PassContext) -> Artifact:
        fields = ("initial", "final", "begin", "end", "frequency", "power", "scope", "importance")
        return trained(artifact, parameters, context, {"sparsity": {name: parameters[name] for name in fields}})


PASS: CompressionPass = GradualPrunePass()
