"""Store and compute an ONNX model in half precision.

Half the bytes; on processors without fp16 arithmetic not faster.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from controller.compress.passes.base import Artifact, Capabilities, CompressionPass, Needs, PassContext, needs_float


class Float16Pass:
    """Operators without a half-precision kernel stay float32, with casts around them."""

    name = "float16"
    needs = Needs(libraries=("onnx", "onnxruntime"))

    def applies(self, capabilities: Capabilities, artifact: Artifact) -> str | None:
        return needs_float(self.name, "onnx", capabilities, artifact)

    def space(self, _capabilities: Capabilities) -> Mapping[str, Sequence[Any]]:
        return {}

    def run(self, artifact: Artifact, parameters: Mapping[str, Any], context: PassContext) -> Artifact:
        import onnx
        from onnxruntime.transformers.float16 import convert_float_to_float16
        from onnxruntime.transformers.onnx_model import OnnxModel

        model = onnx.load(artifact.path)
        halved = convert_float_to_float16(model, keep_io_types=parameters["keep_io_types"])
        OnnxModel(halved).topological_sort()  # the casts are put last: shape inference would not reach past the first
        path = context.folder / "model.onnx"
        onnx.save(halved, path)
        return Artifact("onnx", path, precision="float16")


PASS: CompressionPass = Float16Pass()
