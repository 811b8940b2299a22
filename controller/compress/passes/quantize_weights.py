"""Weight-only quantisation of matrix products: blocks of 4 bits, each with a scale of its own.

Decides: that Gemm counts as a product too, and that the file holds standard operators (DequantizeLinear of a block,
then MatMul), which engines fuse as they can: ONNX Runtime into products that read the small weights directly. For
networks whose weights are read once per query (text, large heads), where memory sets the pace. Convolutions stay float.

Source: Dettmers and Zettlemoyer, *The case for 4-bit precision*, ICML 2023 (blocks of few weights lose little).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from controller.compress.passes.base import Artifact, Capabilities, CompressionPass, Needs, PassContext, needs_float
from controller.compress.passes.weights import float_onnx
from controller.compress.weights import operators
from controller.errors import UnusableModel

if TYPE_CHECKING:
    import onnx

BITS = 4
OPSET = 21
"""Of the first DequantizeLinear that knows blocks and 4 bits."""


class QuantizeWeightsPass:
    """No calibration."""

    name = "quantize_weights"
    needs = Needs(
        libraries=("onnx", "onnxruntime", "numpy"), sources=(float_onnx.__name__, operators.__name__), calibration=False
    )

    def applies(self, capabilities: Capabilities, artifact: Artifact) -> str | None:
        return needs_float(self.name, "onnx", capabilities, artifact)

    def space(self, _capabilities: Capabilities) -> Mapping[str, Sequence[Any]]:
        return {"block": (16, 32, 64, 128), "symmetric": (True, False)}

    def run(self, artifact: Artifact, parameters: Mapping[str, Any], context: PassContext) -> Artifact:
        from onnxruntime.quantization import QuantFormat
        from onnxruntime.quantization.matmul_nbits_quantizer import DefaultWeightOnlyQuantConfig, MatMulNBitsQuantizer

        model = products_alone(_newer(float_onnx.opened(artifact)))
        chosen = DefaultWeightOnlyQuantConfig(
            block_size=parameters["block"],
            is_symmetric=parameters["symmetric"],
            bits=BITS,
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=("MatMul",),
        )
        quantiser = MatMulNBitsQuantizer(model, algo_config=chosen)
        quantiser.process()
        made = quantiser.model.model
        count = sum(each.op_type == "DequantizeLinear" for each in made.graph.node)
        if count == 0:
            raise UnusableModel("no product of this network reads a constant matrix: there is nothing to quantise")
        path = context.folder / "model.onnx"
        quantiser.model.save_model_to_file(str(path))
        return Artifact("onnx", path, precision="int4-weights", notes=(f"{count} products of {BITS} bits",))


def products_alone(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model with each Gemm of a constant matrix as MatMul and Add, which quantisers look for.

    Args:
        model: Its constants as initialisers; changed in place.
    """
    from onnx import helper

    kept = []
    weights = {each.name: each for each in operators.weighted(model) if each.kind == "Gemm" and not each.shared}
    for operator in model.graph.node:
        found = operators.attributes(operator)
        own = weights.get(operator.name or operator.output[0])
        if own is None or found.get("alpha", 1.0) != 1.0 or found.get("beta", 1.0) != 1.0:
            kept.append(operator)
            continue
        if found.get("transB", 0):
            matrix = operators.values_of(model, own.weight).T
            _reshaped(model, own.weight, matrix)
        added = len(operator.input) > 2
        product = f"{operator.output[0]}_product" if added else operator.output[0]
        kept.append(helper.make_node("MatMul", operator.input[:2], [product], name=operator.name))
        if added:
            kept.append(helper.make_node("Add", [product, operator.input[2]], list(operator.output)))
    del model.graph.node[:]
    model.graph.node.extend(kept)
    return model


def _reshaped(model: onnx.ModelProto, name: str, values: Any) -> None:
    import numpy as np
    from onnx import numpy_helper

    tensor = next(each for each in model.graph.initializer if each.name == name)
    tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(values), name))


def _newer(model: onnx.ModelProto) -> onnx.ModelProto:
    from onnx import version_converter

    given = max((each.version for each in model.opset_import if each.domain in ("", "ai.onnx")), default=OPSET)
    return model if given >= OPSET else version_converter.convert_version(model, OPSET)


PASS: CompressionPass = QuantizeWeightsPass()
