"""Dynamic int8 quantisation of an ONNX model: 8-bit weights, activations quantised while running; no calibration.

A good choice for models of matrix products. For convolutions ONNX Runtime's kernel for it is several times slower than
float: the fusion audit and the trial on a device say so.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from controller.compress.passes.base import Artifact, Capabilities, CompressionPass, Needs, PassContext, needs_float


class QuantizeDynamicPass:
    """Weights per tensor by default: ONNX Runtime's integer convolution takes no scale per channel."""

    name = "quantize_dynamic"
    needs = Needs(libraries=("onnx", "onnxruntime"))

    def applies(self, capabilities: Capabilities, artifact: Artifact) -> str | None:
        return needs_float(self.name, "onnx", capabilities, artifact)

    def space(self, _capabilities: Capabilities) -> Mapping[str, Sequence[Any]]:
        return {"weights": ("s8", "u8")}

    def run(self, artifact: Artifact, parameters: Mapping[str, Any], context: PassContext) -> Artifact:
        from onnxruntime.quantization import QuantType, quantize_dynamic
        from onnxruntime.quantization.shape_inference import quant_pre_process

        types = {"u8": QuantType.QUInt8, "s8": QuantType.QInt8}
        prepared, path = context.folder / "prepared.onnx", context.folder / "model.onnx"
        quant_pre_process(str(artifact.path), str(prepared))
        quantize_dynamic(
            Path(prepared), Path(path), weight_type=types[parameters["weights"]], per_channel=parameters["per_channel"]
        )
        prepared.unlink()
        return Artifact("onnx", path, precision="int8-dynamic")


PASS: CompressionPass = QuantizeDynamicPass()
