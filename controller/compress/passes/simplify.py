"""Simplify an ONNX graph: constants folded, operators that compute nothing removed, repeated ones merged (onnxslim)."""

from collections.abc import Mapping, Sequence
from typing import Any

from controller.compress.passes.base import Artifact, Capabilities, CompressionPass, Needs, PassContext, needs_float
from controller.errors import UnusableModel


class SimplifyPass:
    """Exact up to the rounding of folded constants."""

    name = "simplify"
    needs = Needs(libraries=("onnx", "onnxslim"))

    def applies(self, capabilities: Capabilities, artifact: Artifact) -> str | None:
        return needs_float(self.name, "onnx", capabilities, artifact)

    def space(self, _capabilities: Capabilities) -> Mapping[str, Sequence[Any]]:
        return {}

    def run(self, artifact: Artifact, _parameters: Mapping[str, Any], context: PassContext) -> Artifact:
        import onnx
        import onnxslim

        before = onnx.load(artifact.path)
        count = len(before.graph.node)
        slimmed = onnxslim.slim(before)
        if not isinstance(slimmed, onnx.ModelProto):
            raise UnusableModel(f"{artifact.path.name}: onnxslim gave no model back")
        path = context.folder / "model.onnx"
        onnx.save(slimmed, path)
        return Artifact("onnx", path, notes=(f"operators: {count} before, {len(slimmed.graph.node)} after",))


PASS: CompressionPass = SimplifyPass()
