"""Smaller factors in place of weights: two products for one, three convolutions for one.

Decides: which operators are replaced: those whose factors hold fewer weights and cost fewer multiplications. Leaves
out: the factors (`controller/compress/weights/factors.py`), and training them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from controller.compress.passes.base import Artifact, Capabilities, CompressionPass, Needs, PassContext, needs_float
from controller.compress.passes.weights import float_onnx
from controller.compress.weights import factors, operators
from controller.compress.weights.operators import Weighted, attributes, values_of, weighted
from controller.errors import UnusableModel

if TYPE_CHECKING:
    import onnx

Parts = list[tuple[NDArray[Any], Mapping[str, Any]]]
"""Weight and attributes of each operator that comes in place of one, first to last."""


class LowRankPass:
    """SVD for products and convolutions of one place, Tucker-2 for the others."""

    name = "low_rank"
    needs = Needs(libraries=("onnx", "numpy"), sources=(float_onnx.__name__, operators.__name__, factors.__name__))

    def applies(self, capabilities: Capabilities, artifact: Artifact) -> str | None:
        return needs_float(self.name, "onnx", capabilities, artifact)

    def space(self, _capabilities: Capabilities) -> Mapping[str, Sequence[Any]]:
        return {"energy": (0.8, 0.9, 0.95, 0.99)}

    def run(self, artifact: Artifact, parameters: Mapping[str, Any], context: PassContext) -> Artifact:
        model = float_onnx.opened(artifact)
        own = [
            each for each in weighted(model) if not each.shared and each.groups == 1 and each.kind != "ConvTranspose"
        ]
        parts = {each.index: _parts(model, each, parameters["energy"]) for each in own}
        smaller = {index: made for index, made in parts.items() if made is not None}
        if not smaller:
            raise UnusableModel(
                f"no operator becomes smaller with {parameters['energy']:.0%} of its energy: take a lower energy"
            )
        _replace(model, smaller)
        return float_onnx.written(model, context, f"{len(smaller)} of {len(own)} operators replaced by factors")


def _parts(model: onnx.ModelProto, each: Weighted, energy: float) -> Parts | None:
    """Return what comes in an operator's place, or None where that would cost more."""
    weight = values_of(model, each.weight)
    given = attributes(model.graph.node[each.index])
    if each.kind != "Conv":
        parts = _two_products(each, weight, given, energy)
    elif math.prod(weight.shape[2:]) == 1:
        parts = _two_convolutions(each, weight, given, energy)
    else:
        parts = _three_convolutions(weight, given, energy)
    before = math.prod(given.get("strides", [1])) - 1 if len(parts) == 3 else 0  # places that strides leave out
    cost = sum(part.size for part, _ in parts) + before * parts[0][0].size
    return parts if cost < weight.size else None


def _two_products(each: Weighted, weight: NDArray[Any], given: Mapping[str, Any], energy: float) -> Parts:
    left, right = factors.of_matrix(each.matrix(weight), energy)
    first, second = (right, left) if each.made == 0 else (right.T, left.T)
    turned = {name: value for name, value in given.items() if name == "transB"}
    return [(first, turned), (second, given)]


def _two_convolutions(each: Weighted, weight: NDArray[Any], given: Mapping[str, Any], energy: float) -> Parts:
    left, right = factors.of_matrix(each.matrix(weight), energy)
    ones = weight.shape[2:]
    return [(right.reshape(*right.shape, *ones), given), (left.reshape(*left.shape, *ones), {"kernel_shape": ones})]


def _three_convolutions(weight: NDArray[Any], given: Mapping[str, Any], energy: float) -> Parts:
    tucker = factors.of_convolution(weight, energy)
    ones = (1,) * (weight.ndim - 2)
    reading, making = (one.reshape(*one.shape, *ones) for one in (tucker.reading, tucker.making))
    return [(reading, {"kernel_shape": ones}), (tucker.core, given), (making, {"kernel_shape": ones})]


def _replace(model: onnx.ModelProto, parts: Mapping[int, Parts]) -> None:
    operators_, gone = [], set()
    for index, operator in enumerate(model.graph.node):
        if index in parts:
            gone.add(operator.input[1])
            operators_ += _chain(model, operator, parts[index])
        else:
            operators_.append(operator)
    kept = [each for each in model.graph.initializer if each.name not in gone]
    del model.graph.node[:]
    del model.graph.initializer[:]
    model.graph.node.extend(operators_)
    model.graph.initializer.extend(kept)


def _chain(model: onnx.ModelProto, operator: onnx.NodeProto, parts: Parts) -> list[onnx.NodeProto]:
    """Return the operators in place of one; its bias goes to the last."""
    from onnx import helper, numpy_helper

    made, value, name = [], operator.input[0], operator.name or operator.output[0]
    for number, (weight, given) in enumerate(parts, start=1):
        constant, last = f"{operator.input[1]}_factor{number}", number == len(parts)
        model.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(weight, np.float32), constant))
        out = operator.output[0] if last else f"{operator.output[0]}_factor{number}"
        inputs = [value, constant, *(operator.input[2:] if last else ())]
        made.append(helper.make_node(operator.op_type, inputs, [out], name=f"{name}_factor{number}", **given))
        value = out
    return made


PASS: CompressionPass = LowRankPass()
