"""Cross-layer equalisation: the same function, with channels of equal ranges, before weights are quantised."""

from collections.abc import Mapping, Sequence
from typing import Any

from controller.compress.passes.base import Artifact, Capabilities, CompressionPass, Needs, PassContext, needs_float
from controller.compress.passes.weights import float_onnx
from controller.compress.weights import equalise, operators


class EqualisePass:
    """Helps per-tensor scales most; per-channel ones gain less."""

    name = "equalise"
    needs = Needs(libraries=("onnx", "numpy"), sources=(float_onnx.__name__, operators.__name__, equalise.__name__))

    def applies(self, capabilities: Capabilities, artifact: Artifact) -> str | None:
        return needs_float(self.name, "onnx", capabilities, artifact)

    def space(self, _capabilities: Capabilities) -> Mapping[str, Sequence[Any]]:
        return {}

    def run(self, artifact: Artifact, _parameters: Mapping[str, Any], context: PassContext) -> Artifact:
        changed, count = equalise.equalise(float_onnx.opened(artifact))
        return float_onnx.written(changed, context, f"{count} pairs of operators equalised")


PASS: CompressionPass = EqualisePass()
